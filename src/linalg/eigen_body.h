/* The definitions of eigen.h for one precision. Included by eigen.c twice, which defines REAL, EIGEN (the
 * struct), EIGEN_LAY_OUT, EIGEN_TOP and the LAPACK routines SYTRD, STEDC and ORMTR; they end here. */
void EIGEN_LAY_OUT(qg_scratch *scratch, int d, EIGEN *out)
{
  out->work_count = (lapack_int)work_needed(d);
  out->iwork_count = 3 + 5 * d;
  out->values = qg_scratch_take(scratch, d, sizeof(REAL));
  out->off_diagonal = qg_scratch_take(scratch, d, sizeof(REAL));
  out->tau = qg_scratch_take(scratch, d, sizeof(REAL));
  out->vectors = qg_scratch_take(scratch, (int64_t)d * d, sizeof(REAL));
  out->work = qg_scratch_take(scratch, out->work_count, sizeof(REAL));
  out->iwork = qg_scratch_take(scratch, out->iwork_count, sizeof(lapack_int));
}

/* LAPACK's lower triangle is the upper one of the row-major matrix. */
qg_status EIGEN_TOP(int d, int rank, REAL *matrix, EIGEN *eigen)
{
  REAL *wanted = eigen->vectors + (int64_t)(d - rank) * d;
  lapack_int info = SYTRD(LAPACK_COL_MAJOR, 'L', d, matrix, d, eigen->values, eigen->off_diagonal, eigen->tau,
                          eigen->work, eigen->work_count);
  QG_CHECK(info == 0, QG_ERR_RUNTIME, "the tridiagonal reduction of order %d refused argument %d", d, -info);
  info = STEDC(LAPACK_COL_MAJOR, 'I', d, eigen->values, eigen->off_diagonal, eigen->vectors, d, eigen->work,
               eigen->work_count, eigen->iwork, eigen->iwork_count);
  QG_CHECK(info == 0, QG_ERR_NUMERICAL, "divide and conquer of order %d found no eigenvalues (info %d)", d,
           info);
  info = ORMTR(LAPACK_COL_MAJOR, 'L', 'L', 'N', d, rank, matrix, d, eigen->tau, wanted, d, eigen->work,
               eigen->work_count);
  QG_CHECK(info == 0, QG_ERR_RUNTIME, "the back transformation of order %d refused argument %d", d, -info);
  return QG_OK;
}

#undef REAL
#undef EIGEN
#undef EIGEN_LAY_OUT
#undef EIGEN_TOP
#undef SYTRD
#undef STEDC
#undef ORMTR
