/* The bits of an fp32 number. */
#ifndef QGALORE_NUMERICS_FLOAT_BITS_H
#define QGALORE_NUMERICS_FLOAT_BITS_H

#include <stdint.h>
#include <string.h>

#include "qgalore/numerics/host_device.h"

QG_HD int32_t qg_bits_of_float(float x)
{
  int32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

QG_HD float qg_float_of_bits(int32_t bits)
{
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

/* Finite values ordered as integers: key(a) < key(b) if a < b. A NaN lies beyond the infinity of its sign. So
 * the least and the greatest of a group do not depend on the order of the reduction, and a NaN is never
 * overlooked. */
QG_HD int32_t qg_float_key(float x)
{
  int32_t bits = qg_bits_of_float(x);
  return bits < 0 ? bits ^ 0x7fffffff : bits;
}

QG_HD float qg_float_from_key(int32_t key)
{
  return qg_float_of_bits(key < 0 ? key ^ 0x7fffffff : key);
}

#endif
