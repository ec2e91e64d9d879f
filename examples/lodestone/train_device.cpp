// sft and prefer on the CUDA backend, where this program was built with it.
#include "train_rank.hpp"

namespace lodestone_cli {

lodestone::run_finished train_on_device([[maybe_unused]] const training_job& job,
                                        [[maybe_unused]] lodestone::dist::threads::communicator& group) {
#ifdef LODESTONE_WITH_CUDA
  if (arithmetic_of(job.s) == "f32") return train_rank<on_device<float>>(job, group);
  return train_rank<on_device<lodestone::bf16>>(job, group);
#else
  (void)arithmetic_of(job.s);  // throws: there is no such backend here
  throw lodestone::config_error("this program was built without it", "backend");
#endif
}

}  // namespace lodestone_cli
