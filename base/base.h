/*
 * base: what every other folder may use. This door only lists the parts;
 * each part is one idea with a header of its own.
 */
#ifndef CAIRN_BASE_H
#define CAIRN_BASE_H

#include "base/bitmap.h"
#include "base/bytes.h"
#include "base/cli.h"
#include "base/co.h"
#include "base/co-lock.h"
#include "base/error.h"
#include "base/field.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/opts.h"
#include "base/pool.h"
#include "base/size.h"
#include "base/span.h"
#include "base/trace.h"

#endif
