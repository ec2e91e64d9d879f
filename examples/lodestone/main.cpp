// lodestone: the command-line program. Everything it does is in the library; this reads options and calls it.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <new>
#include <span>
#include <string>
#include <string_view>

#include <unistd.h>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>

#include "commands.hpp"
#include "options.hpp"

namespace lodestone_cli {

void note(std::string_view text) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
}

void print(std::string_view text) {
  std::fflush(stdout);  // nothing is buffered there: one way out
  lodestone::detail::write_all(STDOUT_FILENO, std::as_bytes(std::span(text.data(), text.size())), -1,
                               "standard output");
}

namespace {

int run(int argc, char** argv) {
  request asked = read_request(argc, argv);
  settings& s = asked.values;
  // A run folder stands for the model, or the adapter, that was trained in it.
  if (!s.model.empty() && std::filesystem::exists(std::filesystem::path(s.model) / "model" / "config.json") &&
      !std::filesystem::exists(std::filesystem::path(s.model) / "config.json"))
    s.model = (std::filesystem::path(s.model) / "model").string();
  if (!s.adapter.empty() &&
      std::filesystem::exists(std::filesystem::path(s.adapter) / "adapter" / "adapter_config.json"))
    s.adapter = (std::filesystem::path(s.adapter) / "adapter").string();
  switch (asked.what) {
    case command::tokenize: return run_tokenize(s);
    case command::prepare: return run_prepare(s);
    case command::plan: return run_plan(s);
    case command::sft: return run_sft(s);
    case command::prefer: return run_prefer(s);
    case command::ablate: return run_ablate(s);
    case command::merge: return run_merge(s);
    case command::score: return run_score(s);
    case command::generate: return run_generate(s);
    case command::chat: return run_chat(s);
    case command::eval: return run_eval(s);
    case command::synthesise: return run_synthesise(s);
    case command::inspect: return run_inspect(s);
    case command::doctor: return run_doctor(s);
    case command::demo: return run_demo(s);
  }
  return usage_error;
}

}  // namespace
}  // namespace lodestone_cli

int main(int argc, char** argv) {
  using namespace lodestone_cli;
  try {
    return run(argc, argv);
  } catch (const early_exit& asked) {
    std::fputs(asked.text.c_str(), stdout);
    return std::fflush(stdout) == 0 ? success : failure;
  } catch (const lodestone::config_error& wrong) {
    note("lodestone: " + std::string(wrong.what()));
    return usage_error;
  } catch (const std::bad_alloc&) {
    note("lodestone: out of memory; lodestone plan estimates what a run needs");
    return failure;
  } catch (const std::exception& failed) {
    note("lodestone: " + std::string(failed.what()));
    return failure;
  }
}
