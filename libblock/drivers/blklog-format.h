/*
 * Constants of the log that blklog.h describes.
 */
#ifndef CAIRN_LIBBLOCK_BLKLOG_FORMAT_H
#define CAIRN_LIBBLOCK_BLKLOG_FORMAT_H

#define BLKLOG_MAGIC "CAIRNLOG"

enum { BLKLOG_VERSION = 1, BLKLOG_FILE_HEAD = 16, BLKLOG_RECORD_HEAD = 32 };

#endif
