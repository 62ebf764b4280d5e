/* Panel products on AMX tiles: 2 x 2 tiles of sums stay in registers, so that four loads feed four products.
 */
#include <immintrin.h>

#include "backend/cpu/bf16/panel_tables.h"

enum { TILE_BYTES_PER_ROW = 64, SUMS_STRIDE = QG_PANEL * sizeof(float), HALF = QG_PANEL_STEP_ELEMENTS / 2 };

static void begin(void)
{
  /* Palette 1: eight tiles of 16 rows of 64 bytes (Intel SDM, LDTILECFG). */
  static const struct {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_per_row[16];
    uint8_t rows[16];
  } config = {.palette = 1,
              .bytes_per_row = {64, 64, 64, 64, 64, 64, 64, 64},
              .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
  _tile_loadconfig(&config);
}

static void end(void)
{
  _tile_release();
}

static void load_sums(bool accumulate, const float *c)
{
  if (accumulate) {
    _tile_loadd(0, c, SUMS_STRIDE);
    _tile_loadd(1, c + 16, SUMS_STRIDE);
    _tile_loadd(2, c + QG_PANEL_SUMS / 2, SUMS_STRIDE);
    _tile_loadd(3, c + QG_PANEL_SUMS / 2 + 16, SUMS_STRIDE);
    return;
  }
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}

static void multiply(qg_panel_rows a, const uint16_t *b, int64_t steps, bool accumulate, float *c)
{
  const int64_t row_bytes = a.stride * (int64_t)sizeof *a.data, half = a.stride * (QG_PANEL / 2);
  load_sums(accumulate, c);
  for (const uint16_t *last = b + steps * QG_PANEL_STEP_ELEMENTS; b < last;
       a.data += a.step, b += QG_PANEL_STEP_ELEMENTS) {
    _tile_loadd(4, a.data, row_bytes);
    _tile_loadd(6, b, TILE_BYTES_PER_ROW);
    _tile_loadd(7, b + HALF, TILE_BYTES_PER_ROW);
    _tile_loadd(5, a.data + half, row_bytes);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, SUMS_STRIDE);
  _tile_stored(1, c + 16, SUMS_STRIDE);
  _tile_stored(2, c + QG_PANEL_SUMS / 2, SUMS_STRIDE);
  _tile_stored(3, c + QG_PANEL_SUMS / 2 + 16, SUMS_STRIDE);
}

const qg_panel_kernels qg_panels_amx = {.begin = begin, .end = end, .multiply = multiply};
