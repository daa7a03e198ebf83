/*
 * Every block driver of the suite, one a line, formats in the order in which
 * they are probed: DRIVER(symbol).
 */
DRIVER(qcow2_driver)
DRIVER(raw_driver)
DRIVER(file_driver)
DRIVER(host_device_driver)
DRIVER(null_co_driver)
DRIVER(null_aio_driver)
DRIVER(mem_driver)
DRIVER(blklog_driver)
DRIVER(blkdebug_driver)
DRIVER(compress_driver)
DRIVER(copy_on_read_driver)
DRIVER(throttle_driver)
DRIVER(blkverify_driver)
