/* The gradient port of an optimizer: from a parameter to its sink, with the checks of what is handed out. */
#ifndef QG_OPTIM_PORT_H
#define QG_OPTIM_PORT_H

#include "optim/optim_private.h"

qg_gradient_port qg_optim_make_port(qg_optim *optim);

#endif
