// The model on the host backend, as lodestone::compiled holds it; included through attention/blocked.hpp by programs
// that link the archive (see host/compiled_products.hpp).
#pragma once

#include <lodestone/attention/blocked.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/llama.hpp>

#ifndef LODESTONE_EXTERN
#define LODESTONE_EXTERN extern
#endif

namespace lodestone {

namespace on_host {
LODESTONE_EXTERN template void attention_forward(thread_pool&, const attention_shape&, std::span<const slice>,
                                                 matrix<const float>, matrix<const float>, matrix<const float>,
                                                 matrix<float>, vector<float>);
LODESTONE_EXTERN template void attention_forward(thread_pool&, const attention_shape&, std::span<const slice>,
                                                 matrix<const double>, matrix<const double>, matrix<const double>,
                                                 matrix<double>, vector<double>);
LODESTONE_EXTERN template void attention_backward(thread_pool&, const attention_shape&, std::span<const slice>,
                                                  matrix<const float>, matrix<const float>, matrix<const float>,
                                                  matrix<const float>, vector<const float>, matrix<const float>,
                                                  matrix<float>, matrix<float>, matrix<float>);
LODESTONE_EXTERN template void attention_backward(thread_pool&, const attention_shape&, std::span<const slice>,
                                                  matrix<const double>, matrix<const double>, matrix<const double>,
                                                  matrix<const double>, vector<const double>, matrix<const double>,
                                                  matrix<double>, matrix<double>, matrix<double>);
}  // namespace on_host

LODESTONE_EXTERN template class llama<host<float>, blocked_attention>;
LODESTONE_EXTERN template class llama<host<double>, blocked_attention>;

}  // namespace lodestone
