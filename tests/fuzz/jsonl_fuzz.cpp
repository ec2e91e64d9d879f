// Arbitrary bytes as a data file: every record is read or refused with an error of the library, nothing else happens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include <sys/mman.h>
#include <unistd.h>

#include <lodestone/core/error.hpp>
#include <lodestone/data/preference.hpp>
#include <lodestone/data/record.hpp>
#include <lodestone/text/jsonl.hpp>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const int handle = memfd_create("records", 0);
  if (handle < 0) return 0;
  if (write(handle, data, size) == static_cast<ssize_t>(size)) {
    try {
      lodestone::jsonl_reader reader("/proc/self/fd/" + std::to_string(handle), 1 << 16);
      lodestone::json_record record;
      std::int64_t line = 0;
      while (reader.next(record)) {
        if (record.text.empty() || record.line < line) std::abort();
        line = record.line;
        try {
          lodestone::record_options options;
          options.join_turns = size % 2 == 0;
          options.strip_zero_width = size % 3 == 0;
          const lodestone::training_record parsed = lodestone::parse_record(record, "fuzz", options);
          if (parsed.is_text == parsed.text.empty()) std::abort();
          if (parsed.is_text != parsed.messages.empty()) std::abort();
        } catch (const lodestone::data_error&) {  // a faulty record: the next one is read
        }
        try {
          lodestone::record_options options;
          options.join_turns = size % 2 == 0;
          options.plain = size % 3 == 0 ? lodestone::plain_prompt::chat : lodestone::plain_prompt::text;
          const lodestone::preference_record parsed = lodestone::parse_preference(record, "fuzz", options);
          if (parsed.answers.size() < 2) std::abort();
          for (const lodestone::preference_answer& answer : parsed.answers) {
            if (parsed.is_text == answer.text.empty() || parsed.is_text != answer.messages.empty()) std::abort();
            if (!(answer.weight >= 0.0) || answer.reference > 0.0) std::abort();
          }
          if (parsed.is_text && parsed.text.empty()) std::abort();
          if (!parsed.is_text && parsed.messages.empty() && parsed.context.empty()) std::abort();
        } catch (const lodestone::data_error&) {
        }
      }
    } catch (const lodestone::error&) {
    }
  }
  close(handle);
  return 0;
}
