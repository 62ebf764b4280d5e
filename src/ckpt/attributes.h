/* Scalar attributes. Reading trusts nothing: kind and size are checked before a byte is copied. */
#ifndef QG_CKPT_ATTRIBUTES_H
#define QG_CKPT_ATTRIBUTES_H

#include <hdf5.h>

#include "qgalore/base/status.h"

/* Number types are those of the file, which are those of memory. Collective over the file's ranks. */
qg_status qg_ckpt_attribute_write_number(hid_t object, const char *path, const char *name, hid_t type,
                                         const void *value);
qg_status qg_ckpt_attribute_write_text(hid_t object, const char *path, const char *name, const char *text);

/* `type` is exactly what is expected. Local. */
qg_status qg_ckpt_attribute_read_number(hid_t object, const char *path, const char *name, hid_t type,
                                        void *value);
/* Text of less than `most` bytes; caller frees. Local. */
qg_status qg_ckpt_attribute_read_text(hid_t object, const char *path, const char *name, size_t most,
                                      char **out);

#endif
