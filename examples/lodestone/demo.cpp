// LongAlign on a small pretrained model and real long documents, and in the second half (demo_retrieval.cpp) LongAlign
// and LOGO on a model that looks things up. TinyStories-656K never saw more than 512 tokens; here
// it learns from State of the Union speeches: (a) a larger RoPE base, (b) continual training on packs of plain text,
// (c) questions over excerpts, packed with loss weighting. Each stage is measured on speeches that are never trained
// on.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <lodestone/activations/table.hpp>
#include <lodestone/attention/blocked.hpp>
#include <lodestone/batching/naive.hpp>
#include <lodestone/batching/packed.hpp>
#include <lodestone/batching/report.hpp>
#include <lodestone/batching/sorted.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/random.hpp>
#include <lodestone/data/memory_store.hpp>
#include <lodestone/data/over_long.hpp>
#include <lodestone/dist/single.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/loss/weighted_sft.hpp>
#include <lodestone/model/config_edit.hpp>
#include <lodestone/model/llama.hpp>
#include <lodestone/optim/adamw.hpp>
#include <lodestone/position/contiguous.hpp>
#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/special_tokens.hpp>
#include <lodestone/text/tokenizer.hpp>
#include <lodestone/train/loop.hpp>
#include <lodestone/train/program.hpp>
#include <lodestone/train/recorders/html_report.hpp>

#include "commands.hpp"
#include "demo_model.hpp"
#include "demo_retrieval.hpp"

namespace lodestone_cli {
namespace {

using namespace lodestone;
namespace fs = std::filesystem;

constexpr std::int64_t pack_tokens = demo_pack_tokens;
constexpr std::int64_t bucket = 512;
constexpr std::int64_t question_words = 8;  // tokens of "these words"
constexpr std::int64_t answer_tokens = 24;
constexpr std::uint64_t seed = 42;

template <class... Values>
[[nodiscard]] std::string printed(const char* format, Values... values) {
  char text[256];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

/// A format of plain words, as a user would define one for a base model.
[[nodiscard]] chat_template question_format() {
  chat_template form;
  form.user_prefix = "Question: ";
  form.user_suffix = "\n";
  form.assistant_prefix = "Answer: ";
  form.turn_separator = "\n";
  return form;
}

/// The speeches as tokens, every sixth of them held out.
struct speeches {
  std::vector<std::vector<std::int32_t>> trained;
  std::vector<std::vector<std::int32_t>> held_out;
  std::int64_t tokens = 0;
  std::int64_t unknown = 0;
};

[[nodiscard]] speeches read_speeches(const fs::path& folder, const tokenizer& words) {
  std::vector<fs::path> files;
  for (const auto& item : fs::directory_iterator(folder))
    if (item.path().extension() == ".txt") files.push_back(item.path());
  std::ranges::sort(files);
  if (files.size() < 12) throw io_error("holds fewer than 12 speeches", folder.string(), "clone the repository again");
  speeches all;
  for (std::size_t i = 0; i < files.size(); ++i) {
    std::vector<std::int32_t> ids = words.encode(read_text(files[i]), false);
    all.tokens += static_cast<std::int64_t>(ids.size());
    if (words.unknown_id()) all.unknown += std::ranges::count(ids, *words.unknown_id());
    (i % 6 == 5 ? all.held_out : all.trained).push_back(std::move(ids));
  }
  return all;
}

/// Makes examples of the speeches; every random choice follows from the seed and the example's number.
class examples {
 public:
  examples(const tokenizer& words, const chat_encoder<tokenizer>& encoder) : words_(words), encoder_(encoder) {}

  /// Plain text: pieces of at most a pack, all tokens trained, until `tokens` are there.
  [[nodiscard]] in_memory_store plain(const std::vector<std::vector<std::int32_t>>& speeches,
                                      std::int64_t tokens) const {
    in_memory_store store;
    for (std::size_t i = 0; i < speeches.size() && store.total_tokens() < tokens; ++i)
      for (std::size_t begin = 0; begin + 32 < speeches[i].size() && store.total_tokens() < tokens;) {
        const std::size_t end = std::min(speeches[i].size(), begin + static_cast<std::size_t>(pack_tokens) - 1);
        store.add(text_of(std::span{speeches[i]}.subspan(begin, end - begin)));
        begin = end;
      }
    return store;
  }

  /// The first pack of each speech, to measure loss by position.
  [[nodiscard]] in_memory_store beginnings(const std::vector<std::vector<std::int32_t>>& speeches) const {
    in_memory_store store;
    for (const auto& speech : speeches)
      store.add(text_of(std::span{speech}.first(std::min<std::size_t>(speech.size(), pack_tokens - 1))));
    return store;
  }

  /// Conversations of three questions over one excerpt of 100 to 4,000 tokens, until `tokens` are there.
  [[nodiscard]] in_memory_store questions(const std::vector<std::vector<std::int32_t>>& speeches,
                                          std::int64_t tokens) const {
    in_memory_store store;
    for (std::uint64_t number = 0; store.total_tokens() < tokens; ++number) {
      random_stream random(seed, random_purpose::synthesis, 0, number);
      const auto excerpt = choose(speeches[random.below(speeches.size())], random);
      encoded_sequence example = ask(excerpt, excerpt, 3, random);
      if (example.size() <= pack_tokens) store.add(std::move(example));
    }
    return store;
  }

  /// One question over each of `count` excerpts, asked of the right document and of a part of another, equally long.
  [[nodiscard]] std::pair<in_memory_store, in_memory_store> pairs(
      const std::vector<std::vector<std::int32_t>>& speeches, std::uint64_t count) const {
    std::pair<in_memory_store, in_memory_store> stores;
    for (std::uint64_t number = 0; number < count; ++number) {
      random_stream random(seed, random_purpose::synthesis, 1, number);
      const std::size_t own = random.below(speeches.size());
      const auto right = choose(speeches[own], random);
      const auto& other = speeches[(own + 1 + random.below(speeches.size() - 1)) % speeches.size()];
      const std::size_t length = std::min(right.size(), other.size());
      const auto wrong = std::span{other}.subspan(random.below(other.size() - length + 1), length);
      random_stream same = random;  // the same question of both
      stores.first.add(ask(right.first(length), right.first(length), 1, random));
      stores.second.add(ask(wrong, right.first(length), 1, same));
    }
    return stores;
  }

 private:
  using tokens = std::span<const std::int32_t>;

  /// A document of at most a pack: decoded text may tokenise a little longer than the tokens it came from.
  [[nodiscard]] encoded_sequence text_of(tokens ids) const {
    encoded_sequence whole = encoder_.encode_text(words_.decode(ids));
    if (whole.size() <= pack_tokens) return whole;
    return truncate_tokens(whole, pack_tokens, over_long::truncate_right, std::ssize(words_.prefix()));
  }

  /// An excerpt whose length is log-uniform: as many short ones as long ones.
  [[nodiscard]] static tokens choose(const std::vector<std::int32_t>& speech, random_stream& random) {
    const double longest = std::min(static_cast<double>(speech.size()), 3600.0);  // leaves room for the questions
    const auto length = static_cast<std::size_t>(100.0 * std::pow(longest / 100.0, random.uniform()));
    return std::span{speech}.subspan(random.below(speech.size() - length + 1), length);
  }

  [[nodiscard]] std::string text(tokens ids) const {
    std::string result = words_.decode(ids);
    const std::size_t begin = result.find_first_not_of(" \n");
    return begin == std::string::npos ? std::string{} : result.substr(begin);
  }

  /// `count` questions about `source`, with `document` in front.
  [[nodiscard]] encoded_sequence ask(tokens document, tokens source, int count, random_stream& random) const {
    std::vector<chat_message> messages;
    for (int k = 0; k < count; ++k) {
      const auto room = source.size() - static_cast<std::size_t>(question_words + answer_tokens);
      const tokens from = source.subspan(random.below(room + 1));
      std::string question = "What comes after these words: " + text(from.first(question_words)) + "?";
      if (k == 0) question = text(document) + "\n" + question;
      messages.push_back({chat_role::user, std::move(question)});
      messages.push_back({chat_role::assistant, text(from.subspan(question_words, answer_tokens))});
    }
    return encoder_.encode(messages, "demo");
  }

  const tokenizer& words_;
  const chat_encoder<tokenizer>& encoder_;
};

/// What is measured before training and after each stage.
struct measurement {
  std::string stage;
  std::vector<double> by_position;
  double text = 0.0;
  double right = 0.0;
  double wrong = 0.0;
};

/// The mean of the buckets [begin, end) tokens, weighted by their targets.
[[nodiscard]] double between(const evaluation& own, std::int64_t begin, std::int64_t end) {
  double sum = 0.0;
  double targets = 0.0;
  for (std::int64_t k = begin / bucket; k < end / bucket && k < std::ssize(own.bucket_loss); ++k) {
    const auto weight = static_cast<double>(own.bucket_targets[static_cast<std::size_t>(k)]);
    sum += weight * own.bucket_loss[static_cast<std::size_t>(k)];
    targets += weight;
  }
  return targets > 0.0 ? sum / targets : 0.0;
}

/// Largest relative difference of the gradient's norm over all tensors, in double, between three ways to batch the same
/// examples in one step.
[[nodiscard]] double batching_difference(const fs::path& folder, const model_config& config,
                                         const in_memory_store& data) {
  using backend = host<double>;
  dist::single group;
  auto weights = parameters::load<backend>(folder, group, {parameters::purpose::training, config});
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < data.size(); ++i) lengths.push_back(data.length(i));
  const auto everything = data.size();
  batching::packed packing = make_demo_packing();
  packing.packs_per_step = 0;
  packing.sequences_per_step = everything;
  const epoch_plan plans[] = {batching::naive{.sequences_per_step = everything}.plan(lengths, seed, 0),
                              batching::sorted{.sequences_per_step = everything, .group = 4}.plan(lengths, seed, 0),
                              packing.plan(lengths, seed, 0)};
  std::vector<std::vector<double>> first;
  double most = 0.0;
  for (const epoch_plan& plan : plans) {
    lodestone::program program{llama<backend, blocked_attention>{config, weights},
                               loss::weighted_sft{},
                               batching::naive{.sequences_per_step = everything},
                               position::contiguous{},
                               activations::checkpoint{},
                               make_demo_optimizer(),
                               group};
    program.gradients(data, plan.steps.front(), {});
    std::vector<std::vector<double>> own;
    for (const stored_tensor& tensor : stored_tensors(weights)) {
      const auto view =
          weights.gradient(tensor.unit).rows(tensor.gradient_offset, tensor.gradient_offset + tensor.count);
      own.emplace_back(view.flat().begin(), view.flat().end());
    }
    if (first.empty()) first = own;
    for (std::size_t k = 0; k < own.size(); ++k) {
      double difference = 0.0;
      double norm = 0.0;
      for (std::size_t i = 0; i < own[k].size(); ++i) {
        difference += (own[k][i] - first[k][i]) * (own[k][i] - first[k][i]);
        norm += first[k][i] * first[k][i];
      }
      if (norm > 0.0) most = std::max(most, std::sqrt(difference / norm));
    }
  }
  return most;
}

/// The plan of the same examples by each strategy on eight ranks: a step holds about eight packs.
[[nodiscard]] std::vector<batching::plan_report> compare_plans(const model_config& config,
                                                               const in_memory_store& data) {
  std::vector<std::int64_t> lengths;
  for (std::int64_t i = 0; i < data.size(); ++i) lengths.push_back(data.length(i));
  const batching::cost_model cost = training_cost(config, 1.0);
  const int ranks[] = {8};
  batching::packed packing = make_demo_packing();
  packing.packs_per_step = 8;
  std::vector<batching::plan_report> reports;
  reports.push_back(batching::make_report(
      "naive", batching::naive{.tokens_per_step = 8 * pack_tokens}.plan(lengths, seed, 0), lengths, cost, ranks));
  reports.push_back(batching::make_report(
      "sorted", batching::sorted{.tokens_per_step = 8 * pack_tokens, .group = 8}.plan(lengths, seed, 0), lengths, cost,
      ranks));
  reports.push_back(batching::make_report("packed", packing.plan(lengths, seed, 0), lengths, cost, ranks, pack_tokens));
  return reports;
}

/// The run: one model that goes through the stages, and what is measured of it.
class demonstration {
 public:
  explicit demonstration(const settings& s)
      : settings_(s),
        output_(s.output.empty() ? fs::path("lodestone-demo") : fs::path(s.output)),
        packs_(s.quick ? 3 : 30),
        pairs_(s.quick ? 8 : 40),
        retrieval_(s, output_) {
    static_cast<void>(arithmetic_of(s));  // faults in the settings show before anything is written
    if (fs::exists(output_) && !(fs::is_directory(output_) && fs::is_empty(output_)))
      throw io_error("exists already", output_.string(), "remove it, or choose another with --output");
  }

  int run() {
    const auto begin = std::chrono::steady_clock::now();
    const fs::path folder = fs::path(LODESTONE_EXAMPLES_DIR) / "data" / "models" / "tinystories-656k";
    const tokenizer words = tokenizer::load(folder);
    const special_tokens specials = read_special_tokens(folder);
    const chat_encoder<tokenizer> encoder(words, question_format(), {}, specials);
    const speeches all = read_speeches(fs::path(LODESTONE_EXAMPLES_DIR) / "data" / "state_union", words);
    note(printed("%zu speeches, %lld tokens, %.2f%% of them unknown to the model; %zu are held out",
                 all.trained.size() + all.held_out.size(), static_cast<long long>(all.tokens),
                 100.0 * static_cast<double>(all.unknown) / static_cast<double>(all.tokens), all.held_out.size()));
    const examples make(words, encoder);
    held_out_ = make.beginnings(all.held_out);
    std::tie(right_, wrong_) = make.pairs(all.held_out, pairs_);
    fs::create_directories(output_);

    const model_config original = read_model_config(folder);
    rope_override larger;
    larger.base = 1e5;
    const model_config config = with_rope_override(original, larger);
    measure("as published (RoPE base 10,000)",
            *load_demo_model(settings_, {folder, original, parameters::purpose::inference}));
    const std::unique_ptr<demo_model> model =
        load_demo_model(settings_, {folder, config, parameters::purpose::training});
    place_ = model->place();
    if (settings_.backend == "cuda") place_ += ", " + arithmetic_of(settings_);
    measure("a: RoPE base 100,000, no training", *model);
    train("b: continual training on text", *model, make.plain(all.trained, packs_ * pack_tokens), normalize::token);
    const in_memory_store questions = make.questions(all.trained, packs_ * pack_tokens * 97 / 100);
    train("c: questions, packed, loss weighting", *model, questions, normalize::sequence);

    model->save(output_ / "model", folder);
    in_memory_store few;
    for (std::int64_t i = 0; i < std::min<std::int64_t>(questions.size(), 24); ++i) {
      const example_view example = questions[i];
      if (example.tokens.size() > 1500) continue;  // double precision is for a check, not for patience
      few.add({{example.tokens.begin(), example.tokens.end()},
               {example.labels.begin(), example.labels.end()},
               {example.weights.begin(), example.weights.end()},
               example.weight});
    }
    const double difference = batching_difference(output_ / "model", config, few);
    const std::vector<batching::plan_report> plans = compare_plans(config, questions);
    retrieval_.run();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    print_results(plans, difference, few.size(), seconds);
    write_report(plans, difference, few.size(), seconds);
    print_next();
    return difference < 1e-10 ? success : failure;
  }

 private:
  void measure(const std::string& stage, demo_model& model) {
    const evaluation text = model.evaluate(held_out_, bucket);
    measurement own;
    own.stage = stage;
    own.text = text.token_loss;
    for (const auto& [begin, end] : ranges) own.by_position.push_back(between(text, begin, end));
    buckets_.push_back(text.bucket_loss);
    own.right = model.evaluate(right_).sequence_loss;
    own.wrong = model.evaluate(wrong_).sequence_loss;
    note(printed("%-40s loss at 2k-4k %.3f, answers %.3f (right document) %.3f (wrong)", stage.c_str(),
                 own.by_position.back(), own.right, own.wrong));
    measured_.push_back(std::move(own));
  }

  void train(const std::string& stage, demo_model& model, const in_memory_store& data, normalize per) {
    train::loop_options options;
    options.title = stage;
    options.epochs = 4;  // max_steps ends it: packs differ a little in number from epoch to epoch
    options.max_steps = packs_;
    options.seed = seed;
    options.pack_capacity = pack_tokens;
    losses_.emplace_back(stage, std::vector<double>{});
    model.train(data, per, options, output_ / (stage.substr(0, 1) + "_metrics.jsonl"), losses_.back().second);
    measure(stage, model);
  }

  void print_results(const std::vector<batching::plan_report>& plans, double difference, std::int64_t checked,
                     double seconds) const {
    std::string text = "\nLoss on held-out speeches by position, and of answers (nats per token; lower is better)\n";
    text += printed("%-40s", "stage");
    for (const auto& [begin, end] : ranges) text += printed("%10s", range_name(begin, end).c_str());
    text += printed("%10s%10s%10s\n", "right", "wrong", "gap");
    for (const measurement& own : measured_) {
      text += printed("%-40s", own.stage.c_str());
      for (const double loss : own.by_position) text += printed("%10.3f", loss);
      text += printed("%10.3f%10.3f%10.3f\n", own.right, own.wrong, own.wrong - own.right);
    }
    text += "\n" + batching::compare_text(plans, 8);
    text += printed(
        "\n%lld examples batched naively, sorted and packed give gradients that differ by %.1e at most "
        "(relative, per tensor, double precision)\n",
        static_cast<long long>(checked), difference);
    text += retrieval_.results();
    text += printed("\n%.0f seconds in all, trained on %s\n", seconds, place_.c_str());
    print(text);
  }

  [[nodiscard]] static std::string range_name(std::int64_t begin, std::int64_t end) {
    const auto name = [](std::int64_t n) {
      return n % 1024 == 0 && n > 0 ? std::to_string(n / 1024) + "k" : std::to_string(n);
    };
    return name(begin) + "-" + name(end);
  }

  void write_report(const std::vector<batching::plan_report>& plans, double difference, std::int64_t checked,
                    double seconds) const {
    html_report report("Lodestone: LongAlign and LOGO on " + place_,
                       "Two small models, trained at 512 tokens, learn to read State of the Union speeches at 4,096");
    const measurement& first = measured_.front();
    const measurement& last = measured_.back();
    std::vector<key_number> numbers{
        {printed("%.2f", last.by_position.back()), "loss at positions 2k to 4k",
         printed("from %.2f", first.by_position.back())},
        {printed("%.2f", last.right), "answer loss, right document", printed("from %.2f", first.right)},
        {printed("%.2f", last.wrong - last.right), "more with a wrong document",
         printed("before: %.2f", first.wrong - first.right)}};
    for (key_number& number : retrieval_.key_numbers()) numbers.push_back(std::move(number));
    numbers.push_back({printed("%.0f s", seconds), "for everything", "both halves"});
    report.add_key_numbers(numbers);
    report.add_heading("What each stage of LongAlign changed");
    report.add_text(
        "TinyStories-656K goes on to train on speeches: a larger RoPE base, then plain text in packs, then questions. "
        "Losses are measured on speeches that no stage trains on. The answer to a question is the next 24 "
        "tokens of the document; the same question with another document shows how much the model reads "
        "the document and how much it guesses.");
    report_table table;
    table.header = {"stage"};
    for (const auto& [begin, end] : ranges) table.header.push_back("loss at " + range_name(begin, end));
    for (const char* name : {"right document", "wrong document", "gap"}) table.header.emplace_back(name);
    for (const measurement& own : measured_) {
      std::vector<std::string> row{own.stage};
      for (const double loss : own.by_position) row.push_back(printed("%.3f", loss));
      for (const double loss : {own.right, own.wrong, own.wrong - own.right}) row.push_back(printed("%.3f", loss));
      table.rows.push_back(std::move(row));
    }
    report.add_table(table);
    line_plot by_position{
        .title = "Held-out loss by position", .x_label = "position (tokens)", .y_label = "loss (nats per token)"};
    for (std::size_t k = 0; k < buckets_.size(); ++k) {
      plot_series series;
      series.name = measured_[k].stage;
      for (std::size_t i = 0; i < buckets_[k].size(); ++i) {
        series.x.push_back((static_cast<double>(i) + 0.5) * static_cast<double>(bucket));
        series.y.push_back(buckets_[k][i]);
      }
      by_position.series.push_back(std::move(series));
    }
    report.add_line_plot(by_position);
    line_plot training{.title = "Training loss", .x_label = "optimiser step", .y_label = "loss (nats per target)"};
    for (const auto& [stage, losses] : losses_) {
      plot_series series;
      series.name = stage;
      for (std::size_t i = 0; i < losses.size(); ++i) {
        series.x.push_back(static_cast<double>(i + 1));
        series.y.push_back(losses[i]);
      }
      training.series.push_back(std::move(series));
    }
    report.add_line_plot(training);
    report.add_heading("What batching costs");
    report.add_text(
        "The questions of stage c on eight ranks: predicted time of an epoch for three ways to batch them. "
        "Attention grows with the square of a document's length, so ranks that get documents as they come "
        "wait for the one with the longest.");
    report.add_code(batching::compare_text(plans, 8));
    bar_plot bars{.title = "Predicted epoch time on 8 ranks", .y_label = "relative to naive, in plan order"};
    bar_series once{"meeting once a step", {}};
    bar_series each{"meeting at each micro-batch", {}};
    const double base = plans.front().on(8)->in_plan_order;
    for (const batching::plan_report& plan : plans) {
      bars.categories.push_back(plan.name);
      once.values.push_back(plan.on(8)->once_per_step / base);
      each.values.push_back(plan.on(8)->each_micro_batch / base);
    }
    bars.series = {once, each};
    report.add_bar_plot(bars);
    std::vector<double> lengths;
    for (const batching::plan_report& plan : plans) report.add_code(batching::to_text(plan));
    report.add_heading("The same examples, the same gradient");
    report.add_text(
        printed("%lld examples, batched naively, sorted and packed: in double precision the gradient of no "
                "tensor differs by more than %.1e of its norm.",
                static_cast<long long>(checked), difference));
    retrieval_.add_to(report);
    report.write(output_ / "report.html");
  }

  void print_next() const {
    const std::string out = output_.string();
    std::error_code unknown;
    const fs::path own = fs::read_symlink("/proc/self/exe", unknown);
    const std::string program = unknown ? "lodestone" : own.string();
    print(
        "\nFiles\n"
        "  " +
        out +
        "/report.html      open it in a browser\n"
        "  " +
        out +
        "/model            a Hugging Face folder: score it, generate from it, load it with transformers\n"
        "  " +
        out +
        "/retrieval_model  the second half's, likewise\n"
        "  " +
        out +
        "/*_metrics.jsonl  a line for each step\n"
        "\nYour own model and data: put a Hugging Face folder and a JSONL file for MODEL and chats.jsonl\n"
        "  " +
        program +
        " plan --model MODEL --data chats.jsonl --tokens 65536\n"
        "  " +
        program +
        " sft --model MODEL --data chats.jsonl --output tuned --tokens 65536 --packs-per-step 8\n"
        "  " +
        program +
        " score --model tuned/model --data held_out.jsonl\n"
        "  " +
        program + " generate --model tuned/model --prompt \"...\" --max-new-tokens 100\n" +
        (settings_.backend == "cuda" ? "each with --backend cuda to compute on the GPU\n" : ""));
  }

  static constexpr std::pair<std::int64_t, std::int64_t> ranges[] = {{0, 512}, {512, 1024}, {1024, 2048}, {2048, 4096}};

  const settings& settings_;
  fs::path output_;
  std::int64_t packs_;
  std::uint64_t pairs_;
  std::string place_;  // where the model was trained
  retrieval_demonstration retrieval_;
  in_memory_store held_out_, right_, wrong_;
  std::vector<measurement> measured_;
  std::vector<std::vector<double>> buckets_;
  std::vector<std::pair<std::string, std::vector<double>>> losses_;
};

}  // namespace

int run_demo(const settings& s) { return demonstration(s).run(); }

}  // namespace lodestone_cli
