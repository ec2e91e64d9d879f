// The second half of the demonstration: a small model that looks things up learns to do so eight times further away.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <lodestone/data/memory_store.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/recorders/html_report.hpp>

#include "../retrieval/measure.hpp"
#include "options.hpp"

namespace lodestone_cli {

class retrieval_model;

/// Runs the stages; afterwards says what was measured.
class retrieval_demonstration {
 public:
  /// Files go into the folder `output`, which exists by the time of run().
  retrieval_demonstration(const settings& s, std::filesystem::path output);

  void run();
  /// The table of all stages, and which aims were reached.
  [[nodiscard]] std::string results() const;
  [[nodiscard]] std::vector<lodestone::key_number> key_numbers() const;
  void add_to(lodestone::html_report& report) const;

 private:
  struct measurement {
    std::string stage;
    std::vector<retrieval::matches> matches;  // of each length
    lodestone::evaluation near;               // groups of 512 tokens
    lodestone::evaluation far;                // and of 4,096
  };

  void measure(const std::string& stage, retrieval_model& model);
  [[nodiscard]] lodestone::in_memory_store sequences() const;
  [[nodiscard]] lodestone::in_memory_store groups() const;
  [[nodiscard]] std::string aims() const;

  const settings& settings_;
  std::filesystem::path output_;
  std::int64_t align_steps_, prefer_steps_, contexts_;
  std::vector<std::vector<retrieval::task>> held_out_;  // of each length
  lodestone::in_memory_store near_, far_;
  std::vector<measurement> measured_;
  std::vector<std::pair<std::string, std::vector<double>>> losses_;
  double seconds_ = 0.0;
};

}  // namespace lodestone_cli
