/* Random sequences on raw and on qcow2 images that stand alone. */
#include "tests/model/sequence.h"

int main(int argc, char **argv)
{
    return sequence_main(argc, argv, FAMILY_PLAIN);
}
