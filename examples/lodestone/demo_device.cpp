// The demonstration's models on the CUDA backend, where this program was built with it.
#include "demo_model.hpp"
#include "retrieval_model.hpp"

namespace lodestone_cli {

std::unique_ptr<demo_model> load_demo_model_on_device(const settings& s, [[maybe_unused]] const demo_model_job& job) {
  const std::string type = arithmetic_of(s);  // throws where there is no such backend
#ifdef LODESTONE_WITH_CUDA
  if (type == "f32") return std::make_unique<demo_model_in<on_device<float>>>(s, job);
  return std::make_unique<demo_model_in<on_device<lodestone::bf16>>>(s, job);
#else
  throw lodestone::config_error("this program was built without it", "backend " + type);
#endif
}

std::unique_ptr<retrieval_model> load_retrieval_model_on_device(const settings& s,
                                                                [[maybe_unused]] const demo_model_job& job) {
  const std::string type = arithmetic_of(s);  // throws where there is no such backend
#ifdef LODESTONE_WITH_CUDA
  if (type == "f32") return std::make_unique<retrieval_model_in<on_device<float>>>(s, job);
  return std::make_unique<retrieval_model_in<on_device<lodestone::bf16>>>(s, job);
#else
  throw lodestone::config_error("this program was built without it", "backend " + type);
#endif
}

}  // namespace lodestone_cli
