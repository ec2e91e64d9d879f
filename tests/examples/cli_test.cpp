#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>


#include <nlohmann/json.hpp>

#include "examples/program.hpp"
#include "support/support.hpp"

namespace {

namespace fs = std::filesystem;
using lodestone_test::read_file;
using lodestone_test::temporary_folder;
using lodestone_test::write_file;
using lodestone_test::check_refused;
using lodestone_test::finish;
using lodestone_test::has;
using lodestone_test::model;
using lodestone_test::program;
using lodestone_test::run;
using lodestone_test::skip_without_program;
using lodestone_test::start;
using lodestone_test::words;
using result = lodestone_test::program_result;

/// 24 short documents of different lengths.
void write_documents(const fs::path& file) {
  std::ofstream out(file);
  for (int i = 0; i < 24; ++i) {
    std::string text = "Once upon a time, there was a cat.";
    for (int k = 0; k < i % 7; ++k) text += " The cat saw a big ball and ran to play with it.";
    out << nlohmann::json{{"text", text}}.dump() << "\n";
  }
}

words sft_arguments(const std::string& output, const words& more = {}) {
  words arguments{"sft",       "--model",      model(), "--data",      "train.jsonl",    "--output", output,
                  "--tokens",  "128",          "--epochs", "1",        "--packs-per-step", "2",    "--learning-rate",
                  "1e-3",      "--save-every", "0",     "--threads",   "1"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(examples_cli, *boost::unit_test::precondition(skip_without_program()))

BOOST_AUTO_TEST_CASE(help_and_version_are_results) {
  const temporary_folder folder;
  const result version = run(folder.path(), {"--version"});
  BOOST_TEST(version.status == 0);
  BOOST_TEST(version.out.starts_with("lodestone "));
  BOOST_TEST(version.err.empty());
  const result help = run(folder.path(), {"--help"});
  BOOST_TEST(help.status == 0);
  for (const char* word :
       {"tokenize", "prepare", "plan", "sft", "score", "generate", "chat", "inspect", "doctor", "demo", "Exit status"})
    BOOST_TEST(has(help.out, word), word);
  const result sft = run(folder.path(), {"sft", "--help"});
  BOOST_TEST(sft.status == 0);
  BOOST_TEST(has(sft.out, "--learning-rate"));
  BOOST_TEST(has(sft.out, "(default 2e-05)"));
}

BOOST_AUTO_TEST_CASE(wrong_command_lines_name_the_nearest_right_one) {
  const temporary_folder folder;
  check_refused(run(folder.path(), {}), {"no command is given"});
  check_refused(run(folder.path(), {"sfft"}), {"unknown command \"sfft\"", "did you mean \"sft\"?"});
  check_refused(run(folder.path(), {"sft", "--learning-raet", "1"}), {"did you mean \"--learning-rate\"?"});
  check_refused(run(folder.path(), {"sft", "--no-tensorbord"}), {"did you mean \"--no-tensorboard\"?"});
  check_refused(run(folder.path(), {"sft", "stray"}), {"unexpected argument \"stray\""});
  check_refused(run(folder.path(), {"sft", "--batching", "packd"}), {"--batching", "did you mean \"packed\"?"});
  check_refused(run(folder.path(), {"sft", "--epochs", "two"}), {"--epochs", "whole number", "\"two\""});
  check_refused(run(folder.path(), {"sft", "--epochs", "0"}), {"--epochs", "at least 1"});
  check_refused(run(folder.path(), {"sft", "--tokens", "65__536"}), {"--tokens"});
  check_refused(run(folder.path(), {"sft", "--model", model(), "--data", "x.jsonl"}), {"--output", "is not given"});
  check_refused(run(folder.path(), {"generate", "--model", model()}), {"--prompt"});
  check_refused(run(folder.path(), {"sft", "--model", "m", "--data", "d", "--output", "o", "--export-model", "best"}),
                {"export_model", "held_out"});
}

BOOST_AUTO_TEST_CASE(wrong_configurations_are_refused_with_their_line) {
  const temporary_folder folder;
  const auto refused = [&](const std::string& text, const words& parts) {
    write_file(folder / "run.toml", text);
    check_refused(run(folder.path(), {"sft", "--config", "run.toml"}), parts);
  };
  refused("model = \"m\"\n\nlearnig_rate = 1.0\n", {"run.toml:3: learnig_rate", "did you mean \"learning_rate\"?"});
  refused("epochs = 1\nmodel = 3\n", {"run.toml:2: model", "must be a text", "integer"});
  refused("# first\nepochs = 2.5\n", {"run.toml:2: epochs", "must be a whole number"});
  refused("keep_best = \"yes\"\n", {"run.toml:1: keep_best", "true or false"});
  refused("normaliser = \"sequnce\"\n", {"run.toml:1: normaliser", "did you mean \"sequence\"?"});
  refused("model = \"m\"\nepochs = = 1\n", {"run.toml:2:"});
  refused("model = \"m\"\nmodel = \"n\"\n", {"run.toml:2:"});
  refused("[[data]]\npath = \"x\"\nwieght = 1.0\n", {"run.toml:3: data.wieght", "did you mean \"weight\"?"});
  refused("[[data]]\nformat = \"text\"\n", {"data.path", "has no path"});
  refused("[[data]]\npath = \"x\"\ncount = 0.5\n", {"run.toml:3: data.count", "whole number"});
  refused("[custom_template]\nuser_prefx = \"Q\"\n", {"run.toml:2:", "custom_template_user_prefix"});
  refused("packs_per_step = 8\ntokens_per_step = 9\nmodel = \"m\"\noutput = \"o\"\ndata = \"d\"\n",
          {"packs_per_step", "more than once"});
  const result absent = run(folder.path(), {"sft", "--config", "absent.toml"});
  BOOST_TEST(absent.status == 1);
  BOOST_TEST(has(absent.err, "absent.toml: cannot open"), absent.err);
}

BOOST_AUTO_TEST_CASE(a_missing_model_or_file_is_a_failure_that_names_it) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  for (const words& arguments :
       {words{"score", "--model", "absent-model", "--data", "train.jsonl"},
        words{"sft", "--model", "absent-model", "--data", "train.jsonl", "--output", "out"},
        words{"generate", "--model", "absent-model", "--prompt", "x"}, words{"inspect", "absent-model"},
        words{"tokenize", "--model", "absent-model", "--text-file", "train.jsonl"}}) {
    const result r = run(folder.path(), arguments);
    BOOST_TEST(r.status == 1);
    BOOST_TEST(r.out.empty());
    BOOST_TEST(has(r.err, "absent-model"), r.err);
  }
  const result r = run(folder.path(), {"score", "--model", model(), "--data", "absent.jsonl"});
  BOOST_TEST(r.status == 1);
  BOOST_TEST(has(r.err, "absent.jsonl"), r.err);
  BOOST_TEST(!fs::exists(folder / "out"));
}

BOOST_AUTO_TEST_CASE(a_backend_that_is_not_there_is_one_clear_line) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  const words score{"score", "--model", model(), "--data", "train.jsonl"};
  const auto with = [&](const words& more) {
    words arguments = score;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(folder.path(), arguments);
  };
  const result narrow = with({"--dtype", "bf16"});
  BOOST_TEST(narrow.status != 0);
  BOOST_TEST(has(narrow.err, "the host backend computes in f32 or f64"), narrow.err);
  if (fs::exists("/proc/driver/nvidia/gpus")) return;  // with a GPU tests/cuda has the rest
  const result absent = with({"--backend", "cuda"});
  BOOST_TEST(absent.status != 0);
  BOOST_TEST(absent.out.empty(), absent.out);
  BOOST_TEST((has(absent.err, "built without the CUDA backend") || has(absent.err, "NVIDIA")), absent.err);
  BOOST_TEST(has(absent.err, "backend host"), absent.err);
}

BOOST_AUTO_TEST_CASE(a_demonstration_that_cannot_run_writes_nothing) {
  const temporary_folder folder;
  check_refused(run(folder.path(), {"demo", "--output", "demo", "--dtype", "bf16"}), {"dtype", "f32 or f64"});
  check_refused(run(folder.path(), {"demo", "--output", "demo", "--backend", "tpu"}), {"backend", "host, cuda"});
  BOOST_TEST(!fs::exists(folder / "demo"));
}

BOOST_AUTO_TEST_CASE(a_short_demonstration_trains_both_models_and_reports_every_stage) {
  const temporary_folder folder;
  const result r = run(folder.path(), {"demo", "--quick", "--output", "demo"});
  BOOST_TEST_REQUIRE(r.status == 0, r.err);
  for (const char* text : {"as published", "a: RoPE base", "b: continual", "c: questions", "as trained", "d: RoPE base",
                           "e: LongAlign", "f: LOGO", "Aims for facts", "seconds in all"}) {
    BOOST_TEST(has(r.out, text), text << " in\n" << r.out);
  }
  const std::string report = read_file(folder / "demo" / "report.html");
  for (const char* text : {"Facts found by length", "Margins at 4,096 tokens", "f: LOGO", "Held-out loss by position"})
    BOOST_TEST(has(report, text), text);
  for (const char* name : {"b", "c", "e", "f"}) {
    std::istringstream lines(read_file(folder / "demo" / (std::string(name) + "_metrics.jsonl")));
    std::int64_t steps = 0;
    for (std::string line; std::getline(lines, line);)
      if (const auto event = nlohmann::json::parse(line); event.contains("learning_rate")) ++steps;
    BOOST_TEST(steps >= 3, name);
  }
  for (const char* tuned : {"model", "retrieval_model"}) {
    const result again = run(folder.path(), {"inspect", (folder / "demo" / tuned).string()});
    BOOST_TEST(again.status == 0, again.err);
  }
}

BOOST_AUTO_TEST_CASE(the_shipped_presets_are_valid) {
  const temporary_folder folder;
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(lodestone_test::source_dir() / "examples" / "configs")) {
    const result r = run(folder.path(), {"plan", "--config", entry.path().string(), "--model", "absent-model"});
    BOOST_TEST(r.status == 1, r.err);  // the settings are good, the model is missing
    BOOST_TEST(has(r.err, "absent-model"), r.err);
    ++count;
  }
  BOOST_TEST(count >= 3U);
}

BOOST_AUTO_TEST_CASE(tokenize_keeps_every_byte) {
  const temporary_folder folder;
  const std::string text = "Once upon a time,\n\n  there was  a cat. ";
  write_file(folder / "text.txt", text);
  const result ids = run(folder.path(), {"tokenize", "--model", model(), "--text-file", "text.txt"});
  BOOST_TEST(ids.status == 0);
  BOOST_TEST(ids.err.empty(), ids.err);
  const auto array = nlohmann::json::parse(ids.out);
  BOOST_TEST(array.is_array());
  BOOST_TEST(array.at(0) == 1);  // begin of sequence
  const result plain = run(folder.path(), {"tokenize", "--model", model(), "--text-file", "text.txt", "--no-special"});
  BOOST_TEST(nlohmann::json::parse(plain.out).size() == array.size() - 1);
  write_file(folder / "ids.json", plain.out);
  const result back = run(folder.path(), {"tokenize", "--model", model(), "--text-file", "ids.json", "--decode"});
  BOOST_TEST(back.out == text);
  for (const char* bad : {"[1, 2", "1, 2]", "[1 2]", "[1, x]", "[1] 2", "[99999999999]"}) {
    write_file(folder / "ids.json", bad);
    const result r = run(folder.path(), {"tokenize", "--model", model(), "--text-file", "ids.json", "--decode"});
    BOOST_TEST(r.status == 1, bad);
    BOOST_TEST(has(r.err, "ids.json:1"), r.err);
  }
}

// Numbers of PyTorch and transformers (tests/oracle/pretrained_cases.py).
BOOST_AUTO_TEST_CASE(score_agrees_with_transformers) {
  const temporary_folder folder;
  const fs::path oracle = lodestone_test::data("score");
  for (const auto& [name, path] :
       {std::pair<std::string, std::string>{"tinystories-656k", model()},
        std::pair<std::string, std::string>{"stories260k", lodestone_test::data("models/stories260k").string()}}) {
    const result r = run(folder.path(), {"score", "--model", path, "--data", (oracle / "texts.jsonl").string()});
    BOOST_TEST(r.status == 0, r.err);
    std::ifstream expected(oracle / (name + ".scores.jsonl"));
    std::istringstream found(r.out);
    std::size_t lines = 0;
    for (std::string e, f; std::getline(expected, e); ++lines) {
      BOOST_REQUIRE(std::getline(found, f));
      const auto a = nlohmann::json::parse(e), b = nlohmann::json::parse(f);
      BOOST_TEST(a.at("targets") == b.at("targets"));
      BOOST_TEST(a.at("nll_sum").get<double>() == b.at("nll_sum").get<double>(), boost::test_tools::tolerance(1e-5));
      BOOST_TEST(a.at("nll_mean").get<double>() == b.at("nll_mean").get<double>(), boost::test_tools::tolerance(1e-5));
    }
    BOOST_TEST(lines > 30U);
  }
}

BOOST_AUTO_TEST_CASE(generate_writes_what_transformers_generates) {
  const temporary_folder folder;
  std::ifstream file(lodestone_test::data("score") / "tinystories-656k.generated.jsonl");
  std::string line;
  BOOST_REQUIRE(std::getline(file, line));
  const auto expected = nlohmann::json::parse(line);
  const auto prompt = expected.at("prompt").get<std::string>();
  const result r = run(folder.path(), {"generate", "--model", model(), "--prompt", prompt, "--max-new-tokens",
                                       std::to_string(expected.at("ids").size()), "--temperature", "0"});
  BOOST_TEST(r.status == 0, r.err);
  write_file(folder / "ids.json", expected.at("ids").dump());
  const result text =
      run(folder.path(), {"tokenize", "--model", model(), "--text-file", "ids.json", "--decode", "--no-special"});
  const auto trimmed = [](std::string s) {
    s.erase(0, s.find_first_not_of(" \n"));
    s.erase(s.find_last_not_of(" \n") + 1);
    return s;
  };
  BOOST_TEST(trimmed(r.out) == trimmed(text.out));
}

BOOST_AUTO_TEST_CASE(results_that_cannot_be_written_are_a_failure) {
  const temporary_folder folder;
  write_file(folder / "text.txt", "a cat");
  const int status =
      finish(start(folder.path(), {"tokenize", "--model", model(), "--text-file", "text.txt"}, "/dev/full"));
  BOOST_TEST(status == 1);
  BOOST_TEST(has(read_file(folder / "err.txt"), "standard output"));
}

BOOST_AUTO_TEST_CASE(a_store_is_prepared_once_planned_and_inspected) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  const words prepare{"prepare", "--model", model(), "--data", "train.jsonl", "--output", "train.tokens"};
  const result made = run(folder.path(), prepare);
  BOOST_TEST(made.status == 0, made.err);
  BOOST_TEST(has(made.out, "examples: 24"), made.out);
  BOOST_TEST(fs::exists(folder / "train.tokens.toml"));
  const result again = run(folder.path(), prepare);
  check_refused(again, {"train.tokens", "--overwrite"});
  words replace = prepare;
  replace.push_back("--overwrite");
  BOOST_TEST(run(folder.path(), replace).status == 0);
  const result inspected = run(folder.path(), {"inspect", "train.tokens"});
  BOOST_TEST(inspected.status == 0);
  BOOST_TEST(has(inspected.out, "examples                  24"), inspected.out);
  const result from_store =
      run(folder.path(), {"plan", "--model", model(), "--data", "train.tokens", "--tokens", "256"});
  BOOST_TEST(from_store.status == 0, from_store.err);
  BOOST_TEST(has(from_store.out, "packed: 24 examples"), from_store.out);
  BOOST_TEST(has(from_store.out, "lost                       0 tokens"), from_store.out);
  BOOST_TEST(has(from_store.out, "memory of one rank"), from_store.out);
}

BOOST_AUTO_TEST_CASE(preferences_are_prepared_and_planned_with_their_chosen_answers) {
  const temporary_folder folder;
  const std::string two = R"({"prompt": "Once upon a time", "chosen": " there was.", "rejected": [" 42.", " x."]})";
  const std::string one = R"({"chosen": "Tom had a ball. He ran.", "rejected": "Tom had a ball. Zzz."})";
  write_file(folder / "pairs.jsonl", two + "\n" + one + "\n");
  const result made = run(folder.path(), {"prepare", "--model", model(), "--data", "pairs.jsonl", "--output", "pairs"});
  BOOST_TEST(made.status == 0, made.err);
  for (const char* line : {"records: 2\n", "examples: 5\n", "preference groups: 2\n", "answers in them: 5\n"})
    BOOST_TEST(has(made.out, line), made.out);
  // A mixture of a store and a file takes whole groups; what is not for training on preferences drops the rejected.
  const result planned = run(folder.path(), {"plan", "--model", model(), "--data", "pairs,count=4", "--data",
                                             "pairs.jsonl,count=1", "--tokens", "256"});
  BOOST_TEST(planned.status == 0, planned.err);
  BOOST_TEST(has(planned.out, "packed: 5 examples"), planned.out);
  BOOST_TEST(has(planned.err, " rejected answers are left out"), planned.err);
  write_file(folder / "bad.jsonl", two + "\n" + R"({"prompt": "a", "chosen": " b", "rejected": " b"})" + "\n");
  const result bad = run(folder.path(), {"prepare", "--model", model(), "--data", "bad.jsonl", "--output", "bad"});
  BOOST_TEST(bad.status == 1);
  BOOST_TEST(has(bad.err, "bad.jsonl:2: the rejected answer equals the chosen answer"), bad.err);
  BOOST_TEST(!fs::exists(folder / "bad"));
  const result form = run(folder.path(), {"prepare", "--model", model(), "--data", "pairs.jsonl", "--output", "c",
                                          "--context-form", "{context}"});
  BOOST_TEST(form.status == 2);
  BOOST_TEST(has(form.err, "context_form: must hold {question} once"), form.err);
}

BOOST_AUTO_TEST_CASE(plan_compares_what_could_be_kept) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  const words plan{"plan", "--model", model(), "--data", "train.jsonl", "--tokens", "256"};
  const auto with = [&](const words& more) {
    words all = plan;
    all.insert(all.end(), more.begin(), more.end());
    return run(folder.path(), all);
  };
  const result r = with({});
  BOOST_TEST(r.status == 0, r.err);
  for (const char* name : {"keep-all", "keep-attention", "checkpoint", "offload-inputs", "offload", "automatic in"})
    BOOST_TEST(has(r.out, "  " + std::string(name) + " "), r.out);
  BOOST_TEST(has(r.out, " 0 %"), r.out);
  const result chosen = with({"--activations", "automatic", "--memory-budget", "1"});
  BOOST_TEST(chosen.status == 0, chosen.err);
  BOOST_TEST(has(chosen.out, "automatic in 1 GiB"), chosen.out);
  const result small = with({"--activations", "automatic", "--memory-budget", "0.012"});
  BOOST_TEST(small.status == 2, small.err);
  BOOST_TEST(has(small.err, "memory_budget"), small.err);
  BOOST_TEST(with({"--memory-budget", "0.012"}).status == 0);  // another choice does not ask for it
  check_refused(with({"--memory-budget", "-1"}), {"memory_budget"});
  check_refused(with({"--host-memory-budget", "-2"}), {"host_memory_budget"});
  BOOST_TEST(with({"--activations", "automatic", "--host-memory-budget", "0"}).status == 0);
}

BOOST_AUTO_TEST_CASE(plan_prints_how_positions_cover_the_window) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  const auto with = [&](const words& more) {
    words all{"plan", "--model", model(), "--data", "train.jsonl", "--tokens", "256", "--compare", "packed"};
    all.insert(all.end(), more.begin(), more.end());
    return run(folder.path(), all);
  };
  // Share of the ids that 24 documents in 2 epochs reach, of a window of 512.
  const auto seen = [&](const std::string& position) {
    const result r = with({"--position", position, "--position-window", "512", "--position-chunk", "16"});
    BOOST_TEST(r.status == 0, r.err);
    const std::string head = "position ids of 48 samples in a window of 512: ";
    BOOST_TEST(has(r.out, head), r.out);
    BOOST_TEST(has(r.out, "ids from"), r.out);
    BOOST_TEST(!has(r.out, "outside the window"), r.out);
    return has(r.out, head) ? std::stod(r.out.substr(r.out.find(head) + head.size())) : 0.0;
  };
  BOOST_TEST(seen("contiguous") < 15.0);
  for (const char* position : {"logo-continuous", "logo-sparse", "logo-mix", "pose", "randpos"})
    BOOST_TEST(seen(position) > 70.0, position);
  for (const char* position : {"original-notebook", "original-sparse", "original-continue"}) {
    const result r = with({"--position", position, "--position-window", "4096", "--position-chunk", "16"});
    BOOST_TEST(r.status == 0, r.err);
    BOOST_TEST(has(r.out, "in a window of 4,096"), r.out);
  }
  BOOST_TEST(!has(with({}).out, "position ids"));
  const result reaches = with({"--position", "logo-mix", "--position-window", "100_000"});
  BOOST_TEST(has(reaches.err, "position ids span 100,000"), reaches.err);

  check_refused(with({"--position", "logo-mix"}), {"position_window", "logo-mix"});
  check_refused(with({"--position", "logo-mux"}), {"did you mean \"logo-mix\"?"});
  check_refused(with({"--position-continuous", "1.5"}), {"position_continuous"});
  check_refused(with({"--position-window", "3_000_000_000"}), {"position_window"});
  const result narrow = with({"--position", "pose", "--position-window", "20"});
  BOOST_TEST(narrow.status == 2);
  BOOST_TEST(has(narrow.err, "position_window: example "), narrow.err);
  const result no_room = with({"--position", "original-continue", "--position-window", "1010"});
  BOOST_TEST(no_room.status == 2);
  BOOST_TEST(has(no_room.err, "leave no room"), no_room.err);
}

BOOST_AUTO_TEST_CASE(a_run_trains_with_synthetic_positions) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  const auto trained = [&](const std::string& output, const words& more) {
    const result r = run(folder.path(), sft_arguments(output, more));
    BOOST_TEST(r.status == 0, r.err);
    return read_file(folder / output / "model/model.safetensors");
  };
  const words spread{"--position", "logo-mix", "--position-window", "512", "--position-chunk", "16"};
  const std::string first = trained("first", spread);
  BOOST_TEST((trained("again", spread) == first));
  BOOST_TEST((trained("plain", {}) != first));
  words far = spread;
  far.insert(far.end(), {"--position-continuous", "0.0"});
  BOOST_TEST((trained("sparse", far) != first));
  BOOST_TEST(has(read_file(folder / "first" / "run.toml"), "position = \"logo-mix\"\nposition_window = 512\n"));
  const result narrow =
      run(folder.path(), sft_arguments("narrow", {"--position", "randpos", "--position-window", "9"}));
  BOOST_TEST(narrow.status == 2);
  BOOST_TEST(has(narrow.err, "position_window: example "), narrow.err);
}

BOOST_AUTO_TEST_CASE(what_is_kept_does_not_change_the_trained_model) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  std::string first;
  for (const char* name : {"checkpoint", "automatic", "offload"}) {
    const result r = run(folder.path(), sft_arguments(name, {"--activations", name, "--max-steps", "2"}));
    BOOST_TEST(r.status == 0, r.err);
    const std::string trained = read_file(folder / name / "model/model.safetensors");
    if (first.empty()) first = trained;
    BOOST_TEST((trained == first), name);
  }
}

BOOST_AUTO_TEST_CASE(a_run_leaves_a_model_and_settings_that_repeat_it) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  write_file(folder / "run.toml", "model = \"" + model() +
                                      "\"\noutput = \"out\"\ntokens = 1_28\npacks_per_step = 2\nlearning_rate = 1e-3\n"
                                      "save_every = 0\nthreads = 1\n\n[[data]]\npath = \"train.jsonl\"\ncount = 20\n\n"
                                      "[[held_out]]\npath = \"train.jsonl\"\ncount = 4\n");
  const result r = run(folder.path(), {"sft", "--config", "run.toml", "--epochs", "1", "--rope-base", "1e5"});
  BOOST_TEST(r.status == 0, r.err);
  BOOST_TEST(r.out == "out/model\n");
  for (const char* name : {"run.toml", "metrics.jsonl", "report.html", "tensorboard", "model/config.json",
                           "model/model.safetensors", "model/tokenizer.json"})
    BOOST_TEST(fs::exists(folder / "out" / name), name);
  BOOST_TEST(!has(r.err, "\x1b"), "control codes without a terminal");
  const std::string resolved = read_file(folder / "out" / "run.toml");
  for (const char* line : {"epochs = 1\n", "learning_rate = 0.001\n", "rope_base = 100000.0\n", "count = 20\n"})
    BOOST_TEST(has(resolved, line), line);
  BOOST_TEST(has(read_file(folder / "out/model/config.json"), "100000"));

  // The saved settings are a configuration that resolves to itself and, elsewhere, repeats the run.
  const result repeated = run(folder.path(), {"sft", "--config", "out/run.toml", "--output", "out2"});
  BOOST_TEST(repeated.status == 0, repeated.err);
  BOOST_TEST(read_file(folder / "out/model/model.safetensors") == read_file(folder / "out2/model/model.safetensors"));
  std::string other = read_file(folder / "out2" / "run.toml");
  other.replace(other.find("\"out2\""), 6, "\"out\"");
  BOOST_TEST(other == resolved);

  // A run folder stands for its model.
  BOOST_TEST(run(folder.path(), {"score", "--model", "out", "--data", "train.jsonl"}).status == 0);
  const result inspected = run(folder.path(), {"inspect", "out"});
  BOOST_TEST(inspected.status == 0);
  BOOST_TEST(has(inspected.out, "held-out at 0"), inspected.out);
}

BOOST_AUTO_TEST_CASE(a_signal_ends_a_run_with_a_checkpoint_and_resuming_gives_the_same_model) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  BOOST_TEST(run(folder.path(), sft_arguments("whole", {"--epochs", "3"})).status == 0);

  const pid_t child = start(folder.path(), sft_arguments("cut", {"--epochs", "3"}));
  for (int tries = 0; tries < 2000 && !(fs::exists(folder / "cut/metrics.jsonl") &&
                                        has(read_file(folder / "cut/metrics.jsonl"), "\"event\":\"step\"")); ++tries)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  kill(child, SIGTERM);
  BOOST_TEST(finish(child) == 0);
  if (has(read_file(folder / "err.txt"), "interrupted")) {  // else it was faster than the signal
    BOOST_TEST(!fs::exists(folder / "cut/model"));
    const result refused = run(folder.path(), sft_arguments("cut", {"--epochs", "3", "--resume", "never"}));
    check_refused({refused.status, refused.out, refused.err.substr(refused.err.find("lodestone:"))}, {"not empty"});
    // Another seed cannot go on from the checkpoint, and leaves the record of the run alone.
    const std::string before = read_file(folder / "cut/metrics.jsonl") + read_file(folder / "cut/run.toml");
    BOOST_TEST(run(folder.path(), sft_arguments("cut", {"--epochs", "3", "--seed", "7"})).status == 2);
    BOOST_TEST(read_file(folder / "cut/metrics.jsonl") + read_file(folder / "cut/run.toml") == before);
    const result resumed = run(folder.path(), sft_arguments("cut", {"--epochs", "3"}));
    BOOST_TEST(resumed.status == 0, resumed.err);
    BOOST_TEST(has(resumed.err, "resumed after step"), resumed.err);
  } else {
    BOOST_TEST_MESSAGE("the run ended before the signal came");
  }
  BOOST_TEST(read_file(folder / "cut/model/model.safetensors") == read_file(folder / "whole/model/model.safetensors"));
}

BOOST_AUTO_TEST_CASE(adapters_are_trained_resumed_applied_and_merged) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  const words lora{"--lora-rank",    "4",             "--lora-alpha",   "8",
                   "--lora-targets", "q_proj,v_proj", "--lora-targets", "up_proj"};
  const auto with = [&](words more) {
    more.insert(more.end(), lora.begin(), lora.end());
    return more;
  };
  const result whole = run(folder.path(), sft_arguments("whole", with({"--max-steps", "4"})));
  BOOST_TEST(whole.status == 0, whole.err);
  BOOST_TEST(whole.out == "whole/adapter\n");
  BOOST_TEST(has(whole.err, "lodestone merge --model"), whole.err);
  BOOST_TEST(!fs::exists(folder / "whole/model"));
  const std::string settings = read_file(folder / "whole/adapter/adapter_config.json");
  for (const char* part : {"\"LORA\"", "\"r\": 4", "\"lora_alpha\": 8", "up_proj", "v_proj"})
    BOOST_TEST(has(settings, part), settings);
  BOOST_TEST(has(run(folder.path(), {"inspect", "whole"}).out, "lora_alpha"));

  // A checkpoint holds what is trained, and goes on bit for bit.
  const result resumed = run(folder.path(), sft_arguments("whole2", with({"--max-steps", "4", "--save-every", "2"})));
  BOOST_TEST(resumed.status == 0, resumed.err);
  BOOST_TEST(fs::file_size(folder / "whole2/checkpoints/step_000002/state.safetensors") < 800'000U);
  fs::remove_all(folder / "whole2/checkpoints/step_000004");
  fs::remove_all(folder / "whole2/adapter");
  BOOST_TEST(run(folder.path(), sft_arguments("whole2", with({"--max-steps", "4"}))).status == 0);
  BOOST_TEST(read_file(folder / "whole/adapter/adapter_model.safetensors") ==
             read_file(folder / "whole2/adapter/adapter_model.safetensors"));

  const auto losses = [&](const words& more) {
    words arguments{"score", "--data", "train.jsonl"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const result r = run(folder.path(), arguments);
    BOOST_TEST(r.status == 0, r.err);
    std::vector<double> sums;
    std::istringstream lines(r.out);
    for (std::string line; std::getline(lines, line);) sums.push_back(nlohmann::json::parse(line)["nll_sum"]);
    return sums;
  };
  const words merging{"merge",    "--model",  model(), "--adapter",      "whole",
                      "--output", "merged",   "--export-dtype", "f32"};
  BOOST_TEST(run(folder.path(), merging).out == "merged\n");
  BOOST_TEST(run(folder.path(), merging).status == 1);  // the folder exists
  const std::vector<double> base = losses({"--model", model()});
  const std::vector<double> adapted = losses({"--model", model(), "--adapter", "whole/adapter"});
  const std::vector<double> merged = losses({"--model", "merged"});
  for (std::size_t i = 0; i < base.size(); ++i) {
    BOOST_TEST(adapted[i] == merged[i], boost::test_tools::tolerance(1e-5));
    BOOST_TEST(std::abs(adapted[i] - base[i]) > 1e-3 * base[i]);
  }

  const result further = run(folder.path(), sft_arguments("further", {"--adapter", "whole", "--max-steps", "1"}));
  BOOST_TEST(further.status == 0, further.err);
  BOOST_TEST(has(read_file(folder / "further/adapter/adapter_config.json"), "\"r\": 4"));

  check_refused(run(folder.path(), sft_arguments("x", {"--lora-targets", "q_proj"})), {"lora_rank"});
  check_refused(run(folder.path(), sft_arguments("x", {"--lora-rank", "4", "--lora-targets", "query"})),
                {"'query'", "self_attn.q_proj"});
  check_refused(run(folder.path(), sft_arguments("x", {"--lora-rank", "4", "--adapter", "whole"})), {"lora_rank"});
  check_refused(run(folder.path(), {"merge", "--model", model(), "--output", "y"}), {"--adapter"});
}

BOOST_AUTO_TEST_CASE(naive_sorted_and_packed_runs_of_several_ranks_agree) {
  const temporary_folder folder;
  write_documents(folder / "train.jsonl");
  // One step with all examples: whatever shares a stream or a rank, the loss and the gradient are the same.
  std::vector<double> losses, norms;
  for (const words& more :
       {words{"--batching", "naive", "--sequences-per-step", "24"},
        words{"--batching", "sorted", "--sequences-per-step", "24", "--group", "3"},
        words{"--batching", "packed", "--sequences-per-step", "24"},
        words{"--batching", "packed", "--sequences-per-step", "24", "--ranks", "3", "--packing", "next-fit"},
        words{"--batching", "original", "--packs-per-step", "24"}}) {
    const std::string output = "out" + std::to_string(losses.size());
    words arguments{"sft",  "--model",      model(), "--data",          "train.jsonl", "--output",
                    output, "--tokens",     "128",   "--epochs",        "1",           "--dtype",
                    "f64",  "--max-tokens", "128",   "--learning-rate", "1e-3"};
    if (more[1] == "naive" || more[1] == "sorted") arguments.insert(arguments.end(), {"--group-tokens", "0"});
    arguments.insert(arguments.end(), more.begin(), more.end());
    const result r = run(folder.path(), arguments);
    BOOST_TEST(r.status == 0, r.err);
    const std::string metrics = read_file(folder / output / "metrics.jsonl");
    std::size_t begin = metrics.find("{\"event\":\"step\"");
    BOOST_REQUIRE(begin != std::string::npos);
    const auto step = nlohmann::json::parse(metrics.substr(begin, metrics.find('\n', begin) - begin));
    BOOST_TEST(step.at("sequences") == 24);
    losses.push_back(step.at("loss").get<double>());
    norms.push_back(step.at("gradient_norm").get<double>());
  }
  for (std::size_t i = 1; i < losses.size(); ++i) {
    BOOST_TEST(losses[i] == losses[0], boost::test_tools::tolerance(1e-12));
    BOOST_TEST(norms[i] == norms[0], boost::test_tools::tolerance(1e-10));
  }
}

BOOST_AUTO_TEST_CASE(conversations_need_a_chat_format_and_take_one_of_their_own) {
  const temporary_folder folder;
  write_file(folder / "chat.jsonl",
             R"({"messages": [{"role": "user", "content": "Who ran?"}, {"role": "assistant", "content": "The cat."}]})"
             "\n");
  const words base{"sft", "--model",  model(), "--data",   "chat.jsonl", "--output",
                   "out", "--tokens", "128",   "--epochs", "1"};
  const result refused = run(folder.path(), base);
  BOOST_TEST(refused.status == 2);
  BOOST_TEST(has(refused.err, "chat_template"), refused.err);
  BOOST_TEST(!fs::exists(folder / "out"));
  words custom = base;
  custom.insert(custom.end(), {"--custom-template-user-prefix", "Q: ", "--custom-template-assistant-prefix", "\nA: "});
  const result r = run(folder.path(), custom);
  BOOST_TEST(r.status == 0, r.err);
  BOOST_TEST(has(read_file(folder / "out/run.toml"),
                 "[custom_template]\nuser_prefix = \"Q: \"\nassistant_prefix = \"\\nA: \"\n"));
}

BOOST_AUTO_TEST_CASE(a_template_of_a_file_or_of_the_folder_is_rendered) {
  const temporary_folder folder;
  write_file(folder / "chat.jsonl",
             R"({"messages": [{"role": "user", "content": "Who ran?"}, {"role": "assistant", "content": "The cat."}]})"
             "\n");
  const std::string source = "{% for m in messages %}{{ m.role ~ ': ' ~ m.content ~ eos_token }}{% endfor %}"
                             "{% if add_generation_prompt %}assistant:{% endif %}";
  write_file(folder / "own.jinja", source);
  fs::copy(model(), folder / "model");
  write_file(folder / "model/chat_template.jinja", source);
  const auto prepare = [&](const std::string& from, const std::string& store, const words& more) {
    words arguments{"prepare", "--model", from, "--data", "chat.jsonl", "--output", store};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(folder.path(), arguments);
  };
  const result file = prepare(model(), "file.store", {"--template", "own.jinja"});
  BOOST_TEST(file.status == 0, file.err);
  const result own = prepare("model", "own.store", {});
  BOOST_TEST(own.status == 0, own.err);
  BOOST_TEST(file.out == own.out);
  check_refused(prepare("model", "x.store", {"--template-date", "26.7."}), {"template_date", "2024-07-26"});
  check_refused(prepare("model", "x.store", {"--template", "rendered:rag"}), {"'rag'", "default"});
  check_refused(prepare("model", "x.store", {"--template-values", "{\"tools\": []}"}), {"template_values", "tools"});
  write_file(folder / "model/chat_template.jinja", "{% include 'x' %}");
  check_refused(prepare("model", "x.store", {}), {"chat_template:1:4", "'include' is not supported"});
  BOOST_TEST(!fs::exists(folder / "x.store"));
}

BOOST_AUTO_TEST_CASE(bad_data_is_a_failure_with_its_line) {
  const temporary_folder folder;
  write_file(folder / "train.jsonl", "{\"text\": \"a cat\"}\n{\"text\": \"a dog\"\n");
  const result r = run(folder.path(), sft_arguments("out"));
  BOOST_TEST(r.status == 1);
  BOOST_TEST(has(r.err, "train.jsonl:2"), r.err);
  BOOST_TEST(!fs::exists(folder / "out"));
}

BOOST_AUTO_TEST_CASE(the_doctor_names_compiler_packages_and_processor) {
  const temporary_folder folder;
  const result r = run(folder.path(), {"doctor"});
  BOOST_TEST(r.status == 0);
  for (const char* word : {"compiler", "Eigen", "PCRE2", "nlohmann/json", "processor", "GFLOP/s", "GPU"})
    BOOST_TEST(has(r.out, word), word);
}

BOOST_AUTO_TEST_SUITE_END()
