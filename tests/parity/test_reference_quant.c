/* The formats against the published code: q-galore-torch's own quantisers, and bitsandbytes' own maps. Codes,
 * scales and zero points agree to the bit under the reference rule (a range that need not contain 0). */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

/* cmocka wants the four headers above first. */
#include <cmocka.h>

#include "qgalore/numerics/dynamic_maps.h"
#include "support/fixtures/tolerances.h"
#include "support/reference/parity_reference.h"
#include "support/reference/quant_reference.h"

enum { COUNT = 2 * QG_GROUP };

/* One published case. */
typedef struct {
  const char *name;
  float w[COUNT], uniform[COUNT], scales[2];
  uint8_t codes[COUNT], zeros[2];
} published;

static void read_case(const json_t *object, published *p)
{
  p->name = json_string_value(json_object_get(object, "name"));
  parity_bytes(object, "w", p->w, sizeof p->w);
  parity_bytes(object, "codes", p->codes, sizeof p->codes);
  parity_bytes(object, "scales", p->scales, sizeof p->scales);
  parity_bytes(object, "zeros", p->zeros, sizeof p->zeros);
}

static void expect_codes(const published *p, const uint8_t *codes, const float *scale, const uint8_t *zero)
{
  for (int i = 0; i < COUNT; i++)
    if (codes[i] != p->codes[i])
      fail_msg("%s: code %d of %a is %d, published %d", p->name, i, (double)p->w[i], codes[i], p->codes[i]);
  assert_memory_equal(scale, p->scales, sizeof p->scales);
  assert_memory_equal(zero, p->zeros, sizeof p->zeros);
}

static void check_nearest(const published *p, int bits)
{
  uint8_t codes[COUNT], packed[COUNT / 2], zero[2];
  float scale[2];
  if (bits == 8) {
    ref_quantize_int8(p->w, COUNT, (qg_int8_rule){0}, (qg_int8_store){codes, scale, zero});
  } else {
    ref_quantize_int4(p->w, COUNT, false, (qg_int4_store){packed, scale, zero});
    for (int i = 0; i < COUNT; i++) codes[i] = qg_nibble_get(packed, i);
  }
  expect_codes(p, codes, scale, zero);
}

static void rounding_to_nearest_gives_the_published_int8_and_int4_codes(void **state)
{
  const json_t *cases = json_object_get(*state, "nearest");
  assert_true(json_array_size(cases) >= 10);
  for (size_t i = 0; i < json_array_size(cases); i++) {
    static published p;
    const json_t *object = json_array_get(cases, i);
    read_case(object, &p);
    check_nearest(&p, (int)json_integer_value(json_object_get(object, "bits")));
  }
}

/* The published uniform numbers in place of ours. */
static void stochastic_rounding_gives_the_published_codes_for_the_same_random_numbers(void **state)
{
  const json_t *cases = json_object_get(*state, "stochastic");
  assert_true(json_array_size(cases) >= 5);
  for (size_t k = 0; k < json_array_size(cases); k++) {
    static published p;
    uint8_t codes[COUNT], zero[2];
    float scale[2];
    read_case(json_array_get(cases, k), &p);
    parity_bytes(json_array_get(cases, k), "uniform", p.uniform, sizeof p.uniform);
    ref_quantize_int8(p.w, COUNT, (qg_int8_rule){0}, (qg_int8_store){codes, scale, zero});
    for (int i = 0; i < COUNT; i++) {
      qg_group_params params = {scale[i / QG_GROUP], zero[i / QG_GROUP]};
      codes[i] = qg_group_encode_stochastic(p.w[i], params, QG_INT8_LEVELS, p.uniform[i]);
    }
    expect_codes(&p, codes, scale, zero);
  }
}

/* bitsandbytes computes its cells in fp32, we in double: the last bits differ. */
static void expect_map(const json_t *reference, const char *key, const float *map)
{
  float theirs[QG_DYNAMIC_CODES];
  parity_bytes(reference, key, theirs, sizeof theirs);
  for (int i = 0; i < QG_DYNAMIC_CODES; i++)
    assert_true(fabsf(map[i] - theirs[i]) <= QG_TOL_MAP_CELLS * fabsf(theirs[i]));
}

static void the_dynamic_maps_are_those_of_bitsandbytes(void **state)
{
  expect_map(*state, "signed_map", qg_dynamic_maps_get()->signed_map);
  expect_map(*state, "unsigned_map", qg_dynamic_maps_get()->unsigned_map);
}

static int load(void **state)
{
  *state = parity_load(__FILE__);
  return 0;
}

static int unload(void **state)
{
  json_decref(*state);
  return 0;
}

int main(void)
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(rounding_to_nearest_gives_the_published_int8_and_int4_codes),
      cmocka_unit_test(stochastic_rounding_gives_the_published_codes_for_the_same_random_numbers),
      cmocka_unit_test(the_dynamic_maps_are_those_of_bitsandbytes),
  };
  return cmocka_run_group_tests(tests, load, unload);
}
