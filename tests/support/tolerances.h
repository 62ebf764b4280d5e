/* Every tolerance of the tests, with its reason. A comparison with NaN always fails (QG_CLOSE). */
#ifndef QG_TESTS_TOLERANCES_H
#define QG_TESTS_TOLERANCES_H

#include <math.h>

/* |a - b| <= tol * max(1, |b|), false for NaN. */
#define QG_CLOSE(a, b, tol) (fabs((double)(a) - (double)(b)) <= (tol) * fmax(1.0, fabs((double)(b))))

/* name, value, reason */
#define QG_TOL_F32_SUM 1e-5        /* fp32 results against double: sums of up to a few thousand terms */
#define QG_TOL_BF16_ROUND 8e-3     /* one rounding to bf16: 2^-8 relative, and one more of the inputs */
#define QG_TOL_GRAD_FP32 1e-3      /* fp32 gradient against central differences of the double model, relative to the tensor's norm */
#define QG_TOL_ORTHONORMAL 1e-5    /* ||P P^T - I||_max of an fp32 basis */
#define QG_TOL_F64_FORMULA 1e-14   /* a few double operations against the same formula written otherwise */
#define QG_TOL_ADAM_F32 2e-5       /* some fp32 Adam steps of 0.01 against double: the update's error is 1e-7 of it, but where a
                                      gradient nearly cancels the sum over tokens has few digits */
#define QG_TOL_CODE_TIES 1e-3      /* share of INT8 codes that may differ by one from a double simulation: fp32 moves w / s by
                                      1e-5, so about that share crosses a rounding boundary; one code of the smallest
                                      matrix is a share of 2e-4 */
#define QG_TOL_SAMPLE_SIGMAS 5.0   /* statistics of fixed-seed samples, in standard errors: 6e-7 by chance */
#define QG_TOL_NORMAL_F32 4e-7      /* radius (relative), cosine and sine of the normal numbers against double: some roundings of 6e-8 */
#define QG_TOL_KOLMOGOROV 1.95      /* Kolmogorov-Smirnov distance times sqrt(n) of a fixed-seed sample: 0.1 % by chance */
#define QG_TOL_F64_SUM 1e-12        /* double sums of up to some thousand terms against the closed form */
#define QG_TOL_LOSS_BF16 1e-2      /* bf16 loss against fp32, sum over tokens: each activation is rounded by 2^-9, about twenty in a row */
#define QG_TOL_GRAD_BF16 5e-2      /* bf16 gradient of a tensor against fp32, relative to its norm: as above, and once more back */
#define QG_TOL_GRAM_F32 2e-6       /* eigenvalues of an fp32 Gram matrix, relative to the largest: rounding of its sums */
#define QG_TOL_GRAM_SPLIT 1.5e-5   /* the same from operands of two bf16 each: 2^-17 of every factor, twice */
#define QG_TOL_ROUNDED_ENERGY 2e-3 /* energy in a gradient rounded to bf16: 2^-9 of an eigenvalue where few elements make it */
#define QG_TOL_TOY_LOSS 0.1        /* share of a quadratic loss that may remain after 60 steps of 0.02 towards a rank-8 target */
#define QG_TOL_APPLIED_TINY 0.3    /* mean of 100 updates of 1e-6 over 32768 INT8 weights: the steps of 5e-4 leave a standard error of 0.1 */
#define QG_TOL_APPLIED 0.03        /* the same for updates of 1.6e-5 and more: a standard error below 0.01 */
#define QG_TOL_ADAM_FIRST 2e-4     /* Adam's first steps against lr exactly: eps of 1e-8 beside a gradient of 1e-4, and fp32 */
#define QG_TOL_MOMENTS_8BIT 0.03    /* sum of squares of 8-bit moments after a rotation: each is rounded by up to 4 % of itself, at random */
#define QG_TOL_MAP_CELLS 1e-6f     /* values of the dynamic maps against cells computed in fp32: some roundings of 6e-8 */
#define QG_TOL_SUBSPACE_DISTANCE 1e-4 /* overlap of two fp32 solutions with 1: vectors turn by the error of their eigenvalue, 2e-6 s_1^2, over gaps of 0.36 s_r^2, squared */
#define QG_TOL_POWER_ENERGY 1e-3   /* share of the best energy that one to three block power steps may miss where singular values fall by a fifth each */

#endif
