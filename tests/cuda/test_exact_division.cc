/* Quotients without a division have its bits wherever they decide a code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

extern "C" {
#include <cmocka.h>
}

#include <cmath>

#include "cuda/kernels/exact_division.cuh"
#include "qgalore/numerics/philox.h"

enum { PARTS = 100000, LEAST_EXPONENT = -76 };

/* A divisor of every exponent below 1 in turn, with a random mantissa or one of nearly all ones. */
static float divisor_of(int part, qg_rng_block bits)
{
  float mantissa = bits.v[0] % 8 == 0 ? 0x1.fffffep0f - 0x1p-23f * static_cast<float>(bits.v[1] % 4)
                                      : 1.0f + qg_rng_unit(bits.v[1]);
  return std::ldexp(mantissa, LEAST_EXPONENT + part % -LEAST_EXPONENT);
}

/* Of both signs, up to 256 divisors, or much less than one. */
static float dividend_of(float divisor, qg_rng_block bits, int i)
{
  float unit = 2.0f * qg_rng_unit(bits.v[i % 4] * 2654435761u + static_cast<uint32_t>(i)) - 1.0f;
  return unit * divisor * (i % 2 == 0 ? 256.0f : std::ldexp(1.0f, -static_cast<int>(bits.v[2] % 60)));
}

static void expect_quotient(float got, float want)
{
  if (std::fabs(want) >= 0x1p-24f) assert_true(got == want);
  else
    assert_true((got > 0.0f) == (want > 0.0f) && (got < 0.0f) == (want < 0.0f));
}

static void quotients_have_the_bits_of_the_division(void **)
{
  qg_rng rng = {1, 0, 0, QG_RNG_SYNTHETIC};
  for (int part = 0; part < PARTS; part++) {
    qg_rng_block bits = qg_rng_draw(rng, static_cast<uint64_t>(part));
    float x[PART], q[PART], divisor = divisor_of(part, bits);
    for (int i = 0; i < PART; i++) x[i] = dividend_of(divisor, bits, i);
    divide_part(x, divisor, true, q);
    for (int i = 0; i < PART; i++) expect_quotient(q[i], x[i] / divisor);
  }
}

static void what_is_not_bounded_is_divided(void **)
{
  const float x[PART] = {1.0f, -1e30f, 1e38f, INFINITY, -INFINITY, NAN, 0.0f, 1e-45f};
  const float divisors[] = {0.0f, 1e-38f, 1e-5f, 3.0f, INFINITY, NAN};
  for (float divisor : divisors) {
    float q[PART];
    divide_part(x, divisor, false, q);
    for (int i = 0; i < PART; i++) {
      float want = x[i] / divisor;
      assert_true(q[i] == want || (std::isnan(q[i]) && std::isnan(want)));
    }
  }
}

int main()
{
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(quotients_have_the_bits_of_the_division),
      cmocka_unit_test(what_is_not_bounded_is_divided),
  };
  return cmocka_run_group_tests(tests, nullptr, nullptr);
}
