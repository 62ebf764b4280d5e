/* Attributes of the root group of an HDF5 file, one value each. `path` is for messages only. HDF5's own error
 * printing is the caller's to silence. */
#ifndef QGALORE_SRC_DATA_HDF5_ATTRIBUTES_H
#define QGALORE_SRC_DATA_HDF5_ATTRIBUTES_H

#include <hdf5.h>
#include <stddef.h>
#include <stdint.h>

#include "qgalore/base/status.h"

/* Fixed-length, NUL-padded UTF-8. QG_ERR_RESOURCE if HDF5 cannot store it. */
qg_status qg_attribute_write_text(hid_t file, const char *path, const char *name, const char *text);
qg_status qg_attribute_write_i64(hid_t file, const char *path, const char *name, int64_t value);

/* QG_ERR_INPUT if the attribute is absent, not a single fixed-length text, or does not fit into size - 1
 * bytes. */
qg_status qg_attribute_read_text(hid_t file, const char *path, const char *name, char *out, size_t size);
/* QG_ERR_INPUT if the attribute is absent or not a single integer. */
qg_status qg_attribute_read_i64(hid_t file, const char *path, const char *name, int64_t *out);

#endif
