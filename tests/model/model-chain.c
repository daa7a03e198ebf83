/* Random sequences on qcow2 images over backing files, and on compressed ones. */
#include "tests/model/sequence.h"

int main(int argc, char **argv)
{
    return sequence_main(argc, argv, FAMILY_CHAIN);
}
