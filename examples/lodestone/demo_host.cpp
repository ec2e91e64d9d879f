// The demonstration's models on the host backend.
#include "demo_model.hpp"
#include "retrieval_model.hpp"

namespace lodestone_cli {

std::unique_ptr<demo_model> load_demo_model(const settings& s, const demo_model_job& job) {
  return s.backend == "cuda" ? load_demo_model_on_device(s, job) : load_demo_model_on_host(s, job);
}

std::unique_ptr<demo_model> load_demo_model_on_host(const settings& s, const demo_model_job& job) {
  if (arithmetic_of(s) == "f64") return std::make_unique<demo_model_in<on_host<double>>>(s, job);
  return std::make_unique<demo_model_in<on_host<float>>>(s, job);
}

std::unique_ptr<retrieval_model> load_retrieval_model(const settings& s, const demo_model_job& job) {
  return s.backend == "cuda" ? load_retrieval_model_on_device(s, job) : load_retrieval_model_on_host(s, job);
}

std::unique_ptr<retrieval_model> load_retrieval_model_on_host(const settings& s, const demo_model_job& job) {
  if (arithmetic_of(s) == "f64") return std::make_unique<retrieval_model_in<on_host<double>>>(s, job);
  return std::make_unique<retrieval_model_in<on_host<float>>>(s, job);
}

}  // namespace lodestone_cli
