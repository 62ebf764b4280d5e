/* HDF5 calls with our messages. HDF5 prints nothing by itself after qg_h5_quiet. */
#ifndef QG_CKPT_H5_CHECK_H
#define QG_CKPT_H5_CHECK_H

#include <hdf5.h>

#include "qgalore/base/status.h"

void qg_h5_quiet(void);

/* The innermost reason on HDF5's error stack, written into `buffer`, which it returns. */
const char *qg_h5_reason(char *buffer, size_t size);

/* Raises QG_ERR_CHECKPOINT: "PATH: H5Xyz failed: reason", or QG_ERR_RESOURCE for a full disk. `call` is the source text of the call. */
qg_status qg_h5_failure(const char *path, const char *call, const char *file, int line, const char *func);

/* Ends the use of a file, dataset, space, type or property list; negative ids are fine. */
void qg_h5_release(hid_t id);

/* Returns from the function if the HDF5 call on the file `path` failed (gave a negative result). */
#define QG_H5(path, call)                                                            \
  do {                                                                               \
    if ((call) < 0) return qg_h5_failure(path, #call, __FILE__, __LINE__, __func__); \
  } while (0)

/* The same for functions with cleanup: needs a local `qg_status status` and a label `out`. */
#define QG_H5_OUT(path, call)                                            \
  do {                                                                   \
    if ((call) < 0) {                                                    \
      status = qg_h5_failure(path, #call, __FILE__, __LINE__, __func__); \
      goto out;                                                          \
    }                                                                    \
  } while (0)

#endif
