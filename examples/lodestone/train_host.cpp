// sft and prefer on the host backend.
#include "train_rank.hpp"

namespace lodestone_cli {

lodestone::run_finished train_on_host(const training_job& job, lodestone::dist::threads::communicator& group) {
  return arithmetic_of(job.s) == "f64" ? train_rank<on_host<double>>(job, group)
                                       : train_rank<on_host<float>>(job, group);
}

}  // namespace lodestone_cli
