/* Small things that every module uses: checked integers, time, memory readings, text. */
#ifndef QGALORE_BASE_H
#define QGALORE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include "qgalore/base/status.h"

#define QG_COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

static inline int64_t qg_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t qg_max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
static inline size_t qg_max_size(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t qg_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline int64_t qg_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

/* Narrows a count to the `int` of MPI, BLAS and ScaLAPACK. QG_ERR_RUNTIME names `what` if it does not fit. */
qg_status qg_narrow_int(int64_t value, const char *what, int *out);

/* a * b as bytes; QG_ERR_RESOURCE if the product overflows size_t. */
qg_status qg_mul_size(size_t a, size_t b, size_t *out);

/* calloc with a message that names the bytes and `what`; QG_ERR_RESOURCE. Free with free(). */
qg_status qg_calloc(size_t count, size_t bytes, const char *what, void **out);

/* Seconds of a monotonic clock. */
double qg_now(void);

/* Resident memory of this process in bytes: at present, and the highest so far (Linux VmRSS, VmHWM); 0 if unknown. */
size_t qg_memory_resident(void);
size_t qg_memory_peak(void);
/* Memory of this machine in bytes: what this process may use at most, which a control group may make less than there is, and
 * what is available at present, to all processes; SIZE_MAX if unknown. */
size_t qg_memory_limit(void);
size_t qg_memory_available(void);

/* From here on this thread, and each that it starts, counts subnormal numbers as zeros: processors need a hundred cycles and
 * more for each. Nothing on a processor that is neither x86-64 nor AArch64. */
void qg_subnormals_flush(void);

/* Replaces control characters, which a terminal would obey, by "?". */
void qg_text_make_printable(char *text);

/* Human-readable text. Each writes into `buffer` and returns it. */
const char *qg_format_bytes(char *buffer, size_t size, double bytes);     /* "1.23 GiB" */
const char *qg_format_count(char *buffer, size_t size, double count);     /* "6.74 B", "60.1 M" */
const char *qg_format_seconds(char *buffer, size_t size, double seconds); /* "2d03h", "4h05m", "3m20s", "12.3s" */
const char *qg_format_utc(char *buffer, size_t size, time_t when);        /* ISO 8601, "2026-01-31T23:59:00Z"; "" if it has none */

/* Bytes that this user may still write into the folder `path`, or the nearest above it that exists: free space, and the
 * quota where the system tells it. INT64_MAX if unknown. */
int64_t qg_disk_free(const char *path);

/* Makes a folder and its parents (mode 0777 less umask). Existing folders are fine. QG_ERR_RESOURCE names the path. */
qg_status qg_make_folder(const char *path);

/* Writes a whole small file so that a reader sees the old or the new text, never half:
 * temporary name, fsync, rename, fsync of the folder. QG_ERR_RESOURCE names the path. */
qg_status qg_write_file_atomic(const char *path, const char *text, size_t bytes);

/* What a program prints as its result has to arrive: flushes `out`. QG_ERR_RESOURCE if anything was lost. */
qg_status qg_finish_output(FILE *out);

/* Whether `path` may be written: QG_ERR_INPUT if it is there and no regular file, or the same file as one of `inputs`, also by
 * another name. `what` names it in the message. */
qg_status qg_check_output(const char *what, const char *path, const char *const *inputs, int count);

/* Opens a file to read, without hanging on a pipe that nobody writes into. QG_ERR_INPUT if it cannot be read or is no regular
 * file. */
qg_status qg_open_regular(const char *path, int *file);

/* fsync of a file that was written and closed. QG_ERR_RESOURCE names the path. */
qg_status qg_sync_file(const char *path);

/* fsync of the folder that holds `path`, so that a rename in it survives a power cut. */
qg_status qg_sync_parent(const char *path);

/* CRC-32C (Castagnoli), as in iSCSI and ext4: crc32c("123456789") = 0xE3069283. Start with crc = 0; may be chained. */
uint32_t qg_crc32c(uint32_t crc, const void *data, size_t bytes);

#endif
