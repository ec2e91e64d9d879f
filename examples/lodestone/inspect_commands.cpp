// inspect: what a folder or file holds. doctor: what this program and machine are made of.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <unistd.h>

#include <CLI/Version.hpp>
#include <Eigen/Core>
#include <nlohmann/json.hpp>
#define PCRE2_CODE_UNIT_WIDTH 8  // pcre2.h gives no generic names without it
#include <pcre2.h>
#include <range/v3/version.hpp>
#include <toml++/impl/version.h>
#include <utf8proc.h>

#include <lodestone/batching/report.hpp>
#include <lodestone/checkpoint/json.hpp>
#include <lodestone/checkpoint/pretrained.hpp>
#include <lodestone/checkpoint/training_state.hpp>
#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/tensor.hpp>
#include <lodestone/core/thread_pool.hpp>
#include <lodestone/data/token_store.hpp>
#include <lodestone/host/gemm.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/text/chat_program.hpp>
#include <lodestone/text/regex.hpp>
#include <lodestone/text/special_tokens.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/train/recorders/format.hpp>
#include <lodestone/train/recorders/jsonl.hpp>
#include <lodestone/version.hpp>

#include "arithmetic.hpp"
#include "commands.hpp"
#include "data_parts.hpp"

namespace lodestone_cli {
namespace {

namespace fs = std::filesystem;
using lodestone::format_bytes;
using lodestone::format_count;
using lodestone::format_number;
using lodestone::format_short;

class listing {
 public:
  void heading(std::string_view text) { out_.append(out_.empty() ? "" : "\n").append(text).append("\n"); }
  void row(std::string_view name, std::string_view value) {
    constexpr std::size_t column = 26;
    out_.append("  ").append(name).append(name.size() < column ? column - name.size() : 1, ' ').append(value) += '\n';
  }
  void text(std::string_view lines) { out_.append(lines); }
  [[nodiscard]] const std::string& str() const { return out_; }

 private:
  std::string out_;
};

std::string_view scaling_name(lodestone::rope_scaling_kind kind) {
  using lodestone::rope_scaling_kind;
  switch (kind) {
    case rope_scaling_kind::none: return "none";
    case rope_scaling_kind::linear: return "linear";
    case rope_scaling_kind::dynamic_ntk: return "dynamic NTK";
    case rope_scaling_kind::yarn: return "YaRN";
    case rope_scaling_kind::llama3: return "llama3";
  }
  return "?";
}

void inspect_tokenizer(const fs::path& folder, std::int64_t model_vocabulary, listing& out) {
  out.heading("tokenizer");
  try {
    const lodestone::tokenizer tokenizer = lodestone::tokenizer::load(folder);
    out.row("vocabulary",
            format_count(tokenizer.vocabulary_size()) +
                (tokenizer.vocabulary_size() > model_vocabulary
                     ? "  (more than the model's " + format_count(model_vocabulary) + ": other tokenizer?)"
                     : ""));
    const auto names = [&](const std::vector<std::int32_t>& ids) {
      std::string text;
      for (const std::int32_t id : ids) text += (text.empty() ? "" : " ") + std::string(tokenizer.token_of(id));
      return text.empty() ? std::string("nothing") : text;
    };
    out.row("put before a text", names(tokenizer.prefix()));
    out.row("put after a text", names(tokenizer.suffix()));
    if (const auto unknown = tokenizer.unknown_id()) out.row("unknown token", tokenizer.token_of(*unknown));
    const lodestone::special_tokens specials = lodestone::read_special_tokens(folder);
    out.row("end of sequence", specials.eos ? *specials.eos
                               : specials.eos_id ? std::string(tokenizer.token_of(*specials.eos_id))
                                                 : "not named");
    try {
      const lodestone::chat_choice choice = lodestone::choose_chat_template(
          specials, [&](std::string_view token) { return tokenizer.id_of(token).has_value(); });
      out.row("chat format", choice.form.program ? "the folder's own template, rendered" : choice.form.name);
      if (!choice.note.empty()) out.row("", choice.note);
    } catch (const lodestone::config_error& none) {
      out.row("chat format", std::string("not detected: ") + none.what());
    }
  } catch (const lodestone::error& failed) {
    out.row("cannot be read", failed.what());
  }
}

/// False when something about the folder would stop a training.
bool inspect_model(const fs::path& folder, listing& out) {
  const lodestone::model_config config = lodestone::read_model_config(folder);
  out.heading("model " + folder.string());
  out.row("architecture", config.architecture);
  out.row("layers", std::to_string(config.layers));
  out.row("hidden size", format_count(config.hidden));
  out.row("heads", std::to_string(config.heads) + " of dimension " + std::to_string(config.head_dim) + ", " +
                       std::to_string(config.kv_heads) + " key-value");
  out.row("feed-forward size", format_count(config.feed_forward));
  out.row("vocabulary", format_count(config.vocabulary) + (config.tied_head ? ", head tied to the embedding" : ""));
  std::string extras;
  const auto extra = [&](bool has, const char* name) {
    if (has) extras += (extras.empty() ? "" : ", ") + std::string(name);
  };
  extra(config.qkv_bias, "q, k, v biases");
  extra(config.o_bias, "output bias");
  extra(config.mlp_bias, "feed-forward biases");
  extra(config.qk_norm, "norms of q and k");
  extra(!config.windows.empty(), "sliding windows");
  if (!extras.empty()) out.row("with", extras);
  out.row("RoPE",
          "base " + format_number(config.rope.base, 8) + ", " + std::to_string(config.rope.dimensions) + " of " +
              std::to_string(config.head_dim) + " dimensions, scaling " +
              std::string(scaling_name(config.rope.scaling)) +
              (config.rope.scaling == lodestone::rope_scaling_kind::none ? ""
                                                                         : " by " + format_number(config.rope.factor)));
  out.row("positions", format_count(config.max_positions));
  std::int64_t parameters = 0;
  for (const lodestone::named_tensor& tensor : lodestone::tensor_names(config)) {
    std::int64_t count = 1;
    for (const std::int64_t size : tensor.shape) count *= size;
    parameters += count;
  }
  out.row("parameters", format_count(parameters) + " (" + format_short(static_cast<double>(parameters)) + ")");
  // Weights, gradients and two moments of a full fine-tuning in the arithmetic of the host backend.
  out.row("to train in f32", format_bytes(16.0 * static_cast<double>(parameters)) + " without activations");

  out.heading("weights");
  bool is_good = true;
  try {
    const lodestone::tensor_source source(folder);
    std::map<std::string, std::int64_t> types;
    for (const std::string& name : source.names()) ++types[std::string(lodestone::name_of(source.at(name).type))];
    std::string text;
    for (const auto& [type, count] : types) text += (text.empty() ? "" : ", ") + format_count(count) + " " + type;
    out.row("tensors", text + ", " + format_bytes(static_cast<double>(source.byte_count())));
    lodestone::check_tensors(source, config);
    out.row("check", "names, shapes and types are those of config.json");
  } catch (const lodestone::error& failed) {
    out.row("check", failed.what());
    is_good = false;
  }
  inspect_tokenizer(folder, config.vocabulary, out);
  return is_good;
}

void inspect_store(const fs::path& name, listing& out) {
  const lodestone::token_store store(name);
  out.heading("token store " + name.string());
  std::vector<std::int64_t> lengths;
  std::int64_t targets = 0, without = 0, longest = 0;
  for (std::int64_t i = 0; i < store.size(); ++i) {
    const lodestone::example_view example = store[i];
    std::int64_t own = 0;
    for (std::size_t r = 0; r < example.labels.size(); ++r) own += example.weights[r] > 0.0F ? 1 : 0;
    targets += own;
    without += own == 0 ? 1 : 0;
    lengths.push_back(store.length(i));
    longest = std::max(longest, lengths.back());
  }
  out.row("examples", format_count(store.size()));
  out.row("tokens", format_count(store.total_tokens()) + ", the longest example " + format_count(longest));
  out.row("targets", format_count(targets) + (without > 0 ? ", none in " + format_count(without) + " examples" : ""));
  for (const auto& [key, value] : store.metadata())
    if (key != "format" && key != "summary") out.row(key, value);
  if (const auto summary = store.metadata().find("summary"); summary != store.metadata().end()) {
    out.heading("preparation");
    out.text(summary->second);
  }
  out.heading("lengths");
  std::int64_t most = 1;
  const auto histogram = lodestone::batching::detail::length_histogram(lengths);
  for (const auto& bucket : histogram) most = std::max(most, bucket.examples);
  for (const auto& bucket : histogram)
    out.row(format_count(bucket.low) + " to " + format_count(bucket.high - 1),
            format_count(bucket.examples) + "  " +
                std::string(static_cast<std::size_t>((40 * bucket.examples + most - 1) / most), '#'));
}

void inspect_run(const fs::path& folder, listing& out) {
  out.heading("run " + folder.string());
  std::string steps;
  for (const fs::path& state : lodestone::detail::state_folders(folder / "checkpoints"))
    steps += (steps.empty() ? "" : ", ") + format_count(*lodestone::detail::step_of(state));
  out.row("checkpoints", steps.empty() ? "none" : "after steps " + steps);
  const lodestone::metrics_history history = lodestone::read_metrics(folder / "metrics.jsonl");
  if (!history.steps.empty()) {
    const lodestone::step_record& last = history.steps.back();
    out.row("last step", format_count(last.step) + " of " + format_count(last.steps) + ", loss " +
                             lodestone::format_fixed(last.loss, 4));
  }
  for (const lodestone::evaluation_record& e : history.evaluations)
    if (&e == &history.evaluations.front() || &e == &history.evaluations.back() || e.best)
      out.row(e.name + " at " + format_count(e.step),
              "loss " + lodestone::format_fixed(e.loss, 4) + (e.best ? "  best so far" : ""));
}

void inspect_adapter(const fs::path& folder, listing& out) {
  const std::string where = (folder / "adapter_config.json").string();
  const nlohmann::json json = lodestone::detail::parse_json(lodestone::read_text(where), where);
  out.heading("adapter " + folder.string());
  for (const char* key : {"peft_type", "base_model_name_or_path", "r", "lora_alpha", "use_rslora", "target_modules",
                          "modules_to_save"})
    if (json.contains(key) && !json[key].is_null())
      out.row(key, json[key].is_string() ? json[key].get<std::string>() : json[key].dump());
  for (const char* name : {"adapter_model.safetensors", "adapter_model.bin"}) {
    if (!fs::exists(folder / name)) continue;
    const lodestone::tensor_source source(folder / name);
    std::int64_t parameters = 0;
    for (const std::string& tensor : source.names())
      parameters += *lodestone::safetensors::element_count(source.at(tensor).shape);
    out.row("tensors", format_count(static_cast<std::int64_t>(source.names().size())) + ", " +
                           format_short(static_cast<double>(parameters)) + " parameters");
  }
}

std::string file_line(const char* name, std::string_view key) {
  std::ifstream file(name);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) {
      const std::size_t colon = line.find(':');
      const std::size_t begin = colon == std::string::npos ? line.size() : line.find_first_not_of(" \t", colon + 1);
      return begin == std::string::npos ? "" : line.substr(std::min(begin, line.size()));
    }
  return "";
}

/// Floating-point operations a second of a product of the size that training makes.
double measure_gemm(lodestone::thread_pool& pool) {
  constexpr std::int64_t n = 1024;
  const lodestone::extents<2> square{{n, n}};
  lodestone::tensor<float, 2> x(square), w(square), y(square);
  std::ranges::fill(x.flat(), 1.0F);
  std::ranges::fill(w.flat(), 0.5F);
  double best = 0.0;
  for (int round = 0; round < 4; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    lodestone::on_host::gemm_nt<float>(pool, x.view(), w.view(), y.view(), 0.0F);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    best = std::max(best, 2.0 * n * n * n / seconds);
  }
  return best;
}

}  // namespace

int run_inspect(const settings& s) {
  const fs::path path = s.path;
  if (!fs::exists(path)) throw lodestone::io_error("no such file or folder", path.string(), "check the path");
  listing out;
  bool is_good = true, is_known = false;
  if (is_token_store(path)) {
    inspect_store(path, out);
    is_known = true;
  } else if (fs::is_directory(path)) {
    if (fs::exists(path / "run.toml") || fs::exists(path / "checkpoints")) {
      inspect_run(path, out);
      is_known = true;
      if (fs::exists(path / "model" / "config.json")) is_good = inspect_model(path / "model", out);
      if (fs::exists(path / "adapter" / "adapter_config.json")) inspect_adapter(path / "adapter", out);
    }
    if (fs::exists(path / "adapter_config.json")) {
      inspect_adapter(path, out);
      is_known = true;
    }
    if (fs::exists(path / "config.json")) {
      is_good = inspect_model(path, out);
      is_known = true;
    }
  } else if (path.extension() == ".safetensors") {
    const lodestone::safetensors::file file(path);
    out.heading("safetensors " + path.string());
    for (const auto& entry : file.entries())
      out.row(entry.name,
              std::string(lodestone::name_of(entry.type)) + " " + lodestone::safetensors::to_string(entry.shape));
    is_known = true;
  }
  if (!is_known)
    throw lodestone::format_error("neither a model, adapter or run folder, a token store, nor a .safetensors file",
                                  path.string(), "a model folder has a config.json, a run folder a run.toml");
  print(out.str());
  return is_good ? success : failure;
}

int run_doctor(const settings&) {
  listing out;
  out.heading("lodestone " LODESTONE_VERSION_STRING);
#if defined(__clang__)
  out.row("compiler", "clang " __clang_version__);
#else
  out.row("compiler", "g++ " __VERSION__);
#endif
#ifdef NDEBUG
  out.row("build", "optimised, assertions off");
#else
  out.row("build", "assertions on");
#endif
  std::string compiled;
  const auto feature = [&](const char* name) { compiled += (compiled.empty() ? "" : " ") + std::string(name); };
#ifdef __AVX2__
  feature("AVX2");
#endif
#ifdef __FMA__
  feature("FMA");
#endif
#ifdef __AVX512F__
  feature("AVX-512");
#endif
#ifdef __ARM_NEON
  feature("NEON");
#endif
  out.row("compiled for",
          compiled.empty() ? "the oldest processors of this kind: configure with LODESTONE_NATIVE=ON" : compiled);

  out.heading("packages");
  out.row("Eigen", std::to_string(EIGEN_WORLD_VERSION) + "." + std::to_string(EIGEN_MAJOR_VERSION) + "." +
                       std::to_string(EIGEN_MINOR_VERSION));
  out.row("range-v3", std::to_string(RANGE_V3_MAJOR) + "." + std::to_string(RANGE_V3_MINOR) + "." +
                          std::to_string(RANGE_V3_PATCHLEVEL));
  out.row("nlohmann/json", std::to_string(NLOHMANN_JSON_VERSION_MAJOR) + "." +
                               std::to_string(NLOHMANN_JSON_VERSION_MINOR) + "." +
                               std::to_string(NLOHMANN_JSON_VERSION_PATCH));
  std::uint32_t has_jit = 0;
  std::array<char, 64> pcre{};
  pcre2_config(PCRE2_CONFIG_JIT, &has_jit);
  pcre2_config(PCRE2_CONFIG_VERSION, pcre.data());
  out.row("PCRE2", std::string(pcre.data()) + (has_jit != 0 ? ", with JIT" : ", without JIT: tokenising is slow"));
  out.row("utf8proc", utf8proc_version());
  out.row("CLI11", CLI11_VERSION);
  out.row("toml++",
          std::to_string(TOML_LIB_MAJOR) + "." + std::to_string(TOML_LIB_MINOR) + "." + std::to_string(TOML_LIB_PATCH));

  out.heading("machine");
  const std::string name = file_line("/proc/cpuinfo", "model name");
  lodestone::thread_pool pool;
  out.row("processor", (name.empty() ? "unknown" : name) + ", " + std::to_string(pool.size()) + " threads");
#if defined(__x86_64__) && defined(__GNUC__)
  __builtin_cpu_init();
  std::string has;
  const auto supports = [&](bool yes, const char* what) {
    if (yes) has += (has.empty() ? "" : " ") + std::string(what);
  };
  supports(__builtin_cpu_supports("avx2") != 0, "AVX2");
  supports(__builtin_cpu_supports("fma") != 0, "FMA");
  supports(__builtin_cpu_supports("avx512f") != 0, "AVX-512");
  out.row("it offers", has.empty() ? "none of AVX2, FMA, AVX-512" : has);
  if (has != compiled)
    out.row("",
            "this program uses " + (compiled.empty() ? std::string("none") : compiled) + ": build it on this machine");
#endif
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && page > 0) out.row("memory", format_bytes(static_cast<double>(pages) * static_cast<double>(page)));
  out.row("matrix products, f32", format_number(measure_gemm(pool) / 1e9, 3) + " GFLOP/s");
  std::string gpu;
  std::error_code ignored;
  for (fs::directory_iterator entry("/proc/driver/nvidia/gpus", ignored), end; !ignored && entry != end;
       entry.increment(ignored))
    gpu = file_line((entry->path() / "information").c_str(), "Model");
#ifdef LODESTONE_WITH_CUDA
  std::string use = "for backend cuda";
  try {
    const auto facts = lodestone::on_cuda::describe_device();
    if (gpu.empty()) gpu = facts.name;
    use += ", compute capability " + std::to_string(facts.major) + "." + std::to_string(facts.minor) + ", " +
           format_bytes(static_cast<double>(facts.memory));
  } catch (const lodestone::device_error& refused) {
    use = refused.what();
  }
#else
  const std::string use = "this program was built without the CUDA backend";
#endif
  out.row("GPU", (gpu.empty() ? "none found" : gpu) + " (" + use + ")");
  print(out.str());
  return success;
}

}  // namespace lodestone_cli
