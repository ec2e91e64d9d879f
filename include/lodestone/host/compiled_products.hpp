// The matrix products that lodestone::compiled holds. A program that links it includes this through host/gemm.hpp,
// finds `extern` here and does not compile Eigen's kernels again; the archive's own source defines LODESTONE_EXTERN as
// nothing.
#pragma once

#include <lodestone/host/gemm.hpp>

#ifndef LODESTONE_EXTERN
#define LODESTONE_EXTERN extern
#endif

namespace lodestone::on_host {

LODESTONE_EXTERN template void gemm_nt(thread_pool&, matrix<const float>, matrix<const float>, matrix<float>, float);
LODESTONE_EXTERN template void gemm_nn(thread_pool&, matrix<const float>, matrix<const float>, matrix<float>, float);
LODESTONE_EXTERN template void gemm_tn(thread_pool&, matrix<const float>, matrix<const float>, matrix<float>, float);
LODESTONE_EXTERN template void gemm_nt(thread_pool&, matrix<const double>, matrix<const double>, matrix<double>,
                                       double);
LODESTONE_EXTERN template void gemm_nn(thread_pool&, matrix<const double>, matrix<const double>, matrix<double>,
                                       double);
LODESTONE_EXTERN template void gemm_tn(thread_pool&, matrix<const double>, matrix<const double>, matrix<double>,
                                       double);

}  // namespace lodestone::on_host
