/* The program: from a command line to an exit code (doc/manual.md). */
#ifndef QGALORE_APP_H
#define QGALORE_APP_H

#include "qgalore/base/status.h"

/* Runs the program. Collective when started by an MPI launcher. */
qg_status qg_app_main(int argc, char **argv);

#endif
