// The demonstration: LongAlign on a small pretrained model and real long documents, on the CPU.
#pragma once

#include <cstdint>
#include <filesystem>

namespace lodestone_cli {

struct demo_options {
  std::filesystem::path data;    ///< the folder examples/data: a model and documents
  std::filesystem::path output;  ///< a new folder for the model, the report and the metrics
  int threads = 0;               ///< 0: all cores
  bool quick = false;            ///< 3 packs a stage instead of 30: shows that everything works, teaches little
};

/// Runs the demonstration and prints what it measured to standard output. Returns the exit status.
int demo(const demo_options& options);

}  // namespace lodestone_cli
