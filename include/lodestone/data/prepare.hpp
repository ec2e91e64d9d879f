// Prepares data once for many trainings: reads, encodes on all cores, writes a token store in the order of the input.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <lodestone/core/error.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/core/thread_pool.hpp>
#include <lodestone/data/example_builder.hpp>
#include <lodestone/data/mixture.hpp>
#include <lodestone/data/preference.hpp>
#include <lodestone/data/record.hpp>
#include <lodestone/data/summary.hpp>
#include <lodestone/data/token_store.hpp>
#include <lodestone/text/chat_encoder.hpp>
#include <lodestone/text/jsonl.hpp>

namespace lodestone {

/// One entry of the user's list of data: a file, or a folder whose .jsonl, .json and .txt files are read in the order
/// of their names. A .txt file is one plain document.
struct data_source {
  std::filesystem::path path{};                 ///< a file or a folder
  data_format format = data_format::automatic;  ///< of the records; .txt files are documents all the same
  std::optional<std::int64_t> count{};          ///< see mixture_part
  std::optional<double> weight{};               ///< see mixture_part
};

/// Everything that decides which examples come out, apart from the encoder.
struct prepare_options {
  example_options example{};                    ///< example.record.format is replaced by the source's own
  std::uint64_t seed = 0;                       ///< chooses the examples of a mixture
  std::optional<std::int64_t> mixture_total{};  ///< examples in all; needs a weight for every source
};

/// Where a running preparation stands.
struct prepare_progress {
  std::string file;           ///< the file being read
  std::int64_t records = 0;   ///< encoded so far, repeats included
  std::int64_t examples = 0;  ///< handed to the sink so far
  std::int64_t tokens = 0;    ///< of these examples
};

namespace detail {

/// The files of a source. Throws io_error when there are none.
[[nodiscard]] std::vector<std::filesystem::path> files_of(const data_source& source);

/// A record before it is parsed.
struct raw_record {
  json_record json{};
  bool is_document = false;  ///< the whole of a .txt file
  std::int64_t file = 0;     ///< number in the list of all files
  data_format format = data_format::automatic;
  std::int32_t times = 1;
};

/// Calls visit(json_record&, is_document) for every record of a file; its UTF-8 is not yet checked.
template <class Visit>
void each_record(const std::filesystem::path& file, const Visit& visit) {
  json_record record;
  if (file.extension() == ".txt") {
    record.text = read_text(file);
    record.line = 1;
    if (record.text.starts_with("\xEF\xBB\xBF")) record.text.erase(0, 3);
    visit(record, true);
    return;
  }
  jsonl_reader reader(file, jsonl_reader::default_record_limit, false);
  while (reader.next(record)) visit(record, false);
}

/// Records wait here until there are enough for all cores; results leave in the order of the records.
template <class Tokenizer, class Sink>
class prepare_batch {
 public:
  prepare_batch(const example_builder<Tokenizer>& builder, std::span<const std::string> files, Sink& sink,
                thread_pool& pool)
      : builder_(builder), files_(files), sink_(sink), pool_(pool) {}

  data_summary total;

  void add(raw_record record) {
    bytes_ += record.json.text.size();
    records_.push_back(std::move(record));
    if (bytes_ >= most_bytes || records_.size() >= most_records) flush();
  }

  void flush() {
    std::vector<result> results(records_.size());
    pool_.run(static_cast<std::int64_t>(records_.size()), [&](std::int64_t tile) {
      const auto i = static_cast<std::size_t>(tile);
      build(records_[i], results[i]);
    });
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (results[i].failure) std::rethrow_exception(results[i].failure);  // the first in the order of the data
      for (std::int32_t time = 0; time < records_[i].times; ++time) {
        bool has_group = false;
        for (encoded_sequence& example : results[i].examples) {
          if (example.group != no_group) {
            example.group = groups_;  // a repeated record is a group of its own each time
            has_group = true;
          }
          sink_.add(example, example_origin{records_[i].file, records_[i].json.line});
        }
        if (has_group) ++groups_;
        total.add(results[i].counts);
      }
    }
    records_.clear();
    bytes_ = 0;
  }

 private:
  static constexpr std::size_t most_bytes = std::size_t{16} << 20;
  static constexpr std::size_t most_records = 4096;

  struct result {
    std::vector<encoded_sequence> examples;
    data_summary counts;
    std::exception_ptr failure;
  };

  void build(const raw_record& raw, result& out) const {
    data_summary counts;
    counts.records = 1;
    const std::string& file = files_[static_cast<std::size_t>(raw.file)];
    try {
      try {
        record_options options = builder_.options().record;
        options.format = raw.format;
        require_utf8(raw.json, file);
        const std::string where = source_line(file, raw.json.line);
        if (raw.is_document) {
          training_record record;
          record.text = raw.json.text;
          record.is_text = true;
          record.line = raw.json.line;
          if (record.text.empty()) throw data_error("the document is empty", file, "remove the file");
          builder_.build(record, where, out.examples, counts);
        } else {
          std::visit([&](const auto& record) { builder_.build(record, where, out.examples, counts); },
                     parse_any_record(raw.json, file, options));
        }
      } catch (const data_error& fault) {
        if (builder_.options().faults == fault_policy::error) throw;
        out.examples.clear();
        counts = {};
        counts.records = 1;
        counts.skipped = 1;
        counts.faults.emplace_back(fault.what());
      }
    } catch (...) {
      out.failure = std::current_exception();
    }
    out.counts = std::move(counts);
  }

  const example_builder<Tokenizer>& builder_;
  std::span<const std::string> files_;
  Sink& sink_;
  thread_pool& pool_;
  std::vector<raw_record> records_;
  std::size_t bytes_ = 0;
  std::int64_t groups_ = 0;
};

}  // namespace detail

/// All files of all sources, in the order in which they are read: the numbers of example_origin::file.
[[nodiscard]] std::vector<std::string> source_files(std::span<const data_source> sources);

/// Reads all sources, encodes them on the pool and hands every example to `sink.add(encoded_sequence, example_origin)`
/// in the order of the input (token_store_writer and in_memory_store are sinks).
///
/// A record with chosen and rejected, or of a source of format preference, becomes one example for each answer, side by
/// side, the chosen one first; their groups are numbered 0, 1, 2, ... in this order. A record that a mixture repeats is
/// a new group each time.
///
/// Memory does not depend on the size of the files: at most 16 MiB of records (or one longer record) and what they
/// become are held. The result does not depend on the number of threads. Sources with a count or a weight are read
/// twice: once to count their records. Throws data_error at the first fault in the order of the input (unless faults
/// are skipped), format_error and io_error for files, config_error for the mixture.
template <class Tokenizer, class Sink>
data_summary prepare(std::span<const data_source> sources, const chat_encoder<Tokenizer>& encoder,
                     const prepare_options& options, Sink& sink, thread_pool& pool,
                     const std::function<void(const prepare_progress&)>& progress = {}) {
  if (sources.empty()) throw config_error("no data is named", "data", "add at least one source with a path");
  const example_builder<Tokenizer> builder(encoder, options.example);
  const bool is_mixture = std::any_of(sources.begin(), sources.end(),
                                      [](const data_source& source) { return source.count || source.weight; });
  std::vector<std::int64_t> counts;
  std::vector<mixture_part> parts;
  if (is_mixture || options.mixture_total) {
    for (const data_source& source : sources) {
      mixture_part& part = parts.emplace_back(mixture_part{0, source.count, source.weight});
      for (const std::filesystem::path& file : detail::files_of(source)) {
        detail::each_record(file, [&](const json_record&, bool) { ++part.size; });
      }
    }
    counts = mixture_counts(parts, options.mixture_total);
  }
  const std::vector<std::string> names = source_files(sources);
  detail::prepare_batch<Tokenizer, Sink> batch(builder, names, sink, pool);
  std::int64_t file_number = 0;
  for (std::size_t s = 0; s < sources.size(); ++s) {
    std::vector<std::int32_t> times;
    if (!counts.empty()) times = choose_examples(parts[s].size, counts[s], options.seed, s);
    std::size_t next = 0;
    for (const std::filesystem::path& file : detail::files_of(sources[s])) {
      detail::each_record(file, [&](json_record& record, bool is_document) {
        detail::raw_record raw{std::move(record), is_document, file_number, sources[s].format, 1};
        if (!times.empty()) {
          if (next >= times.size()) throw io_error("the file changed while it was read", file.string(), "start again");
          raw.times = times[next++];
          if (raw.times == 0) return;
        }
        const std::int64_t before = batch.total.records;
        batch.add(std::move(raw));
        if (progress && batch.total.records != before) {
          progress({file.string(), batch.total.records, batch.total.examples, batch.total.tokens});
        }
      });
      ++file_number;
    }
  }
  batch.flush();
  if (progress) progress({names.back(), batch.total.records, batch.total.examples, batch.total.tokens});
  return batch.total;
}

namespace detail {

/// The chat template as JSON.
[[nodiscard]] std::string describe(const chat_template& form);

/// The options as JSON.
[[nodiscard]] std::string describe(const chat_encoding& encoding, const prepare_options& options);

/// The names of the files as JSON; a file name may be any bytes.
[[nodiscard]] std::string describe(std::span<const data_source> sources);

}  // namespace detail

/// What a store says about its making: "tokenizer", "vocabulary_size", "template", "options", "sources", "summary".
template <class Tokenizer>
[[nodiscard]] std::map<std::string, std::string> store_metadata(std::span<const data_source> sources,
                                                                const chat_encoder<Tokenizer>& encoder,
                                                                const prepare_options& options,
                                                                const data_summary& summary) {
  return {{"tokenizer", tokenizer_fingerprint(encoder.tokenizer())},
          {"vocabulary_size", std::to_string(encoder.tokenizer().vocabulary_size())},
          {"template", detail::describe(encoder.form())},
          {"options", detail::describe(encoder.options(), options)},
          {"sources", detail::describe(sources)},
          {"summary", summary.to_text()}};
}

/// prepare() into a token store of that name, which appears complete or not at all. Throws data_error when no example
/// is left, and what prepare() and token_store_writer throw.
template <class Tokenizer>
data_summary prepare_store(const std::filesystem::path& name, std::span<const data_source> sources,
                           const chat_encoder<Tokenizer>& encoder, const prepare_options& options, thread_pool& pool,
                           bool replace = false, const std::function<void(const prepare_progress&)>& progress = {}) {
  token_store_writer writer(name, replace);
  data_summary summary = prepare(sources, encoder, options, writer, pool, progress);
  if (writer.size() == 0) {
    throw data_error("no example is left of " + std::to_string(summary.records) + " records", name.string(),
                     "see the counts: \n" + summary.to_text());
  }
  writer.commit(store_metadata(sources, encoder, options, summary));
  return summary;
}

}  // namespace lodestone

#ifndef LODESTONE_COMPILED
#include <lodestone/data/prepare.ipp>
#endif
