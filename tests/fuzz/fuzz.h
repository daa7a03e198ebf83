/*
 * One fuzz target: a file fuzz-NOUN.c with this function. libFuzzer calls it in
 * `make check-fuzz`; in the suite replay.c feeds it the corpus.
 */
#ifndef CAIRN_TESTS_FUZZ_H
#define CAIRN_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
