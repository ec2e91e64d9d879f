#include <utf8proc.h>

#include <lodestone/text/added_tokens.hpp>
#include <lodestone/text/bpe.hpp>
#include <lodestone/text/byte_alphabet.hpp>
#include <lodestone/text/decoder.hpp>
#include <lodestone/text/json_place.hpp>
#include <lodestone/text/merge.hpp>
#include <lodestone/text/normalizer.hpp>
#include <lodestone/text/piece_table.hpp>
#include <lodestone/text/pre_tokenizer.hpp>
#include <lodestone/text/prefix_trie.hpp>
#include <lodestone/text/protobuf.hpp>
#include <lodestone/text/regex.hpp>
#include <lodestone/text/scanner.hpp>
#include <lodestone/text/sentencepiece_folder.hpp>
#include <lodestone/text/sentencepiece_model.hpp>
#include <lodestone/text/sentencepiece_normalizer.hpp>
#include <lodestone/text/token_list.hpp>
#include <lodestone/text/tokenizer_json.hpp>
#include <lodestone/text/tokenizer_json_components.hpp>
#include <lodestone/text/tokenizer_parts.hpp>
#include <lodestone/text/unicode.hpp>
#include <lodestone/text/unigram.hpp>
#include <lodestone/text/word_cache.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <variant>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <lodestone/core/random.hpp>

#include "support/support.hpp"

namespace {

namespace text = lodestone::text;

std::vector<std::string> words_of(const text::pre_tokenizer& splitter, const std::string& input) {
  text::split_text result;
  splitter.apply(input, true, result);
  std::vector<std::string> words;
  for (const text::text_range& range : result.words) {
    words.emplace_back(result.word(range));
    if (splitter.ends_in_bytes()) words.back() = text::byte_alphabet::get().spell(words.back());
  }
  return words;
}

/// Text that meets every branch of the word patterns: few classes, many borders.
std::string border_text(lodestone::random_stream& random) {
  static const std::vector<std::string> parts{" ",
                                              " ",
                                              " ",
                                              "\n",
                                              "\r",
                                              "\t",
                                              "\xC2\x85",
                                              "\xC2\xA0",
                                              "\xE3\x80\x80",
                                              "\xE1\xA0\x8E",
                                              "'",
                                              "'s",
                                              "'S",
                                              "'re",
                                              "'LL",
                                              "'Ve",
                                              "'\xC5\xBF",
                                              "a",
                                              "Z",
                                              "\xC3\xA9",
                                              "\xE4\xBD\xA0",
                                              "1",
                                              "2",
                                              "\xD9\xA3",
                                              "\xC2\xBD",
                                              "\xE2\x85\xB7",
                                              ".",
                                              "!?",
                                              "_",
                                              "\xE2\x82\xAC",
                                              "\xF0\x9F\x98\x80",
                                              "\xCC\x81",
                                              "\xE2\x80\x8D",
                                              "the",
                                              "123456",
                                              "\x01",
                                              "\x7F"};
  std::string result;
  const std::uint64_t count = random.below(12);
  for (std::uint64_t i = 0; i < count; ++i) result += parts[static_cast<std::size_t>(random.below(parts.size()))];
  return result;
}

/// Merging as its definition says: quadratic, on a plain list.
std::vector<std::int32_t> merge_by_definition(const text::merge_table& merges, std::vector<std::int32_t> symbols) {
  for (;;) {
    text::merge_table::merge best;
    std::size_t place = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
      if (const auto found = merges.find(symbols[i], symbols[i + 1]); found.rank < best.rank) {
        best = found;
        place = i;
      }
    if (best.rank == text::merge_table::no_rank) return symbols;
    symbols[place] = best.symbol;
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(place + 1));
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(text_tokenizer_parts)

// Each normalizer, pre-tokenizer and decoder alone, against the tokenizers library (tests/oracle/tokenizer_cases.py).
BOOST_AUTO_TEST_CASE(components_equal_the_reference_library) {
  std::istringstream file(lodestone_test::read_file(lodestone_test::data("tokenizer/components.jsonl")));
  std::map<std::string, int> seen;
  for (std::string line; std::getline(file, line);) {
    const auto one = nlohmann::json::parse(line);
    const text::detail::json_place component(one["component"], "component");
    const std::string role = one["role"];
    if (role == "normalizer") {
      text::normalizer normal;
      text::detail::read_normalizer(component, normal, 0);
      std::string storage;
      const std::string input = one["text"];
      BOOST_TEST(normal.apply(input, storage) == one["result"].get<std::string>(), line);
    } else if (role == "pre_tokenizer") {
      text::pre_tokenizer splitter;
      text::detail::read_pre_tokenizer(component, splitter, 0);
      BOOST_TEST(words_of(splitter, one["text"]) == one["result"].get<std::vector<std::string>>(), line);
    } else {
      text::decoder decode;
      text::detail::read_decoder(component, decode, 0);
      BOOST_TEST(decode.apply(one["text"].get<std::vector<std::string>>()) == one["result"].get<std::string>(), line);
    }
    ++seen[role];
  }
  BOOST_TEST(seen["normalizer"] > 300);
  BOOST_TEST(seen["pre_tokenizer"] > 500);
  BOOST_TEST(seen["decoder"] > 60);
}

BOOST_AUTO_TEST_CASE(scanners_equal_their_patterns) {
  for (const std::string_view pattern :
       {text::word_scanner::gpt2_pattern, text::word_scanner::llama3_pattern, text::word_scanner::qwen2_pattern}) {
    text::pre_tokenizer by_hand;
    text::pre_tokenizer by_pattern;
    by_hand.add(text::split_words{text::word_scanner::of(pattern).value()});
    by_pattern.add(text::split_pattern{text::regex(pattern), text::split_behavior::isolated, false});
    lodestone::random_stream random(5, lodestone::random_purpose::user);
    for (int i = 0; i < 20'000; ++i) {
      const std::string input = border_text(random);
      const auto got = words_of(by_hand, input);
      if (got != words_of(by_pattern, input))
        BOOST_TEST(false, pattern << " differs on: " << nlohmann::json(input).dump());
    }
  }
  BOOST_TEST(!text::word_scanner::of("\\s+").has_value());
}

// Every assigned character between letters, digits, spaces and symbols: the class tables against PCRE2's.
BOOST_AUTO_TEST_CASE(scanners_equal_their_patterns_on_every_character) {
  for (const std::string_view pattern : {text::word_scanner::gpt2_pattern, text::word_scanner::llama3_pattern}) {
    text::pre_tokenizer by_hand;
    text::pre_tokenizer by_pattern;
    by_hand.add(text::split_words{text::word_scanner::of(pattern).value()});
    by_pattern.add(text::split_pattern{text::regex(pattern), text::split_behavior::isolated, false});
    // Unicode 14 at least in both libraries: characters assigned later are left out.
    const text::regex assigned("\\p{Cn}|\\p{Co}|\\p{Cs}");
    int tested = 0;
    for (char32_t c = 1; c < 0x20000; ++c) {
      if ((c >= 0xD800 && c <= 0xDFFF) || utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_CN)
        continue;
      std::string one;
      text::append_utf8(one, c);
      text::regex::match found;
      if (assigned.find(one, 0, found)) continue;
      const std::string input = "a" + one + "1" + one + " " + one + "." + one + one;
      if (words_of(by_hand, input) != words_of(by_pattern, input))
        BOOST_TEST(false, pattern << " differs on U+" << std::hex << static_cast<std::uint32_t>(c));
      ++tested;
    }
    BOOST_TEST(tested > 60'000);
  }
}

BOOST_AUTO_TEST_CASE(merging_equals_its_definition) {
  lodestone::random_stream random(6, lodestone::random_purpose::user);
  for (int table = 0; table < 40; ++table) {
    text::merge_table merges;
    // Six letters and thirty merges of what exists so far; with equal ranks, as SentencePiece's scores may be.
    std::int32_t symbols = 6;
    const bool has_ties = table % 2 == 1;
    for (std::uint32_t rank = 0; rank < 30; ++rank) {
      const auto left = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(symbols)));
      const auto right = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(symbols)));
      merges.insert(left, right, {has_ties ? rank / 4 : rank, symbols++});
    }
    for (int word = 0; word < 50; ++word) {
      std::vector<std::int32_t> letters(static_cast<std::size_t>(random.below(text::merge_limit + 1)));
      for (std::int32_t& one : letters) one = static_cast<std::int32_t>(random.below(6));
      const auto expected = merge_by_definition(merges, letters);
      auto scan = letters;
      scan.resize(text::merge_word(merges, scan));
      BOOST_TEST(scan == expected);
      auto heap = letters;
      heap.resize(text::merge_text(merges, heap));
      BOOST_TEST(heap == expected);
    }
  }
}

// A text cut at safe places gives what merging it whole gives.
BOOST_AUTO_TEST_CASE(cutting_at_safe_places_changes_nothing) {
  const std::vector<std::string> names{"a", "b", "c", "\xE2\x96\x81", "\xE4\xBD\xA0", "\xE5\xA5\xBD"};
  lodestone::random_stream random(7, lodestone::random_purpose::user);
  for (int table = 0; table < 30; ++table) {
    std::vector<std::string> pieces = names;
    text::bpe_parts parts;
    text::merge_table merges;
    parts.merges.reserve(16);
    pieces.reserve(names.size() + 16);
    for (std::uint32_t rank = 0; rank < 12; ++rank) {
      const auto left = static_cast<std::size_t>(random.below(pieces.size()));
      const auto right = static_cast<std::size_t>(random.below(pieces.size()));
      const std::string joined = pieces[left] + pieces[right];
      if (std::find(pieces.begin(), pieces.end(), joined) != pieces.end()) continue;
      pieces.push_back(joined);
      const auto id = static_cast<std::int32_t>(pieces.size() - 1);
      parts.merges.push_back(
          {static_cast<std::int32_t>(left), static_cast<std::int32_t>(right), rank, id, pieces.back()});
      merges.insert(static_cast<std::int32_t>(left), static_cast<std::int32_t>(right), {rank, id});
    }
    for (std::size_t i = 0; i < pieces.size(); ++i) parts.pieces.push_back({pieces[i], static_cast<std::int32_t>(i)});
    parts.byte_ids.fill(-1);
    const text::bpe model(parts);
    for (int word = 0; word < 60; ++word) {
      std::string input;
      std::vector<std::int32_t> symbols;
      const std::uint64_t length = random.below(40);
      for (std::uint64_t i = 0; i < length; ++i) {
        symbols.push_back(static_cast<std::int32_t>(random.below(names.size())));
        input += names[static_cast<std::size_t>(symbols.back())];
      }
      std::vector<std::int32_t> ids;
      model.encode(input, ids);
      BOOST_TEST(ids == merge_by_definition(merges, symbols));
      std::vector<std::int32_t> again;
      model.encode(input, again);  // from the cache
      BOOST_TEST(again == ids);
    }
  }
}

// The best segmentation, against all segmentations of short texts.
BOOST_AUTO_TEST_CASE(unigram_finds_the_best_segmentation) {
  const std::vector<std::pair<std::string, double>> scores{{"a", -3},       {"b", -3.25},   {"ab", -5},
                                                           {"ba", -6.5},    {"aba", -8.75}, {"bab", -9.5},
                                                           {"aab", -7.125}, {"c", -4},      {"abc", -7.5}};
  text::unigram_parts parts;
  for (std::size_t i = 0; i < scores.size(); ++i)
    parts.pieces.push_back({scores[i].first, static_cast<std::int32_t>(i + 1), scores[i].second, false});
  parts.unknown = 0;
  const text::unigram model(parts);
  const auto best = [&](const auto& self, const std::string& rest) -> double {
    if (rest.empty()) return 0;
    double highest = -1e9;
    for (const auto& [piece, score] : scores)
      if (rest.rfind(piece, 0) == 0) highest = std::max(highest, score + self(self, rest.substr(piece.size())));
    return highest;
  };
  lodestone::random_stream random(8, lodestone::random_purpose::user);
  for (int i = 0; i < 200; ++i) {
    std::string input;
    const std::uint64_t length = random.below(11);
    for (std::uint64_t j = 0; j < length; ++j)
      input.push_back(static_cast<char>('a' + static_cast<int>(random.below(3))));
    std::vector<std::int32_t> ids;
    model.encode(input, ids);
    std::string spelled;
    double total = 0;
    for (const std::int32_t id : ids) {
      spelled += scores[static_cast<std::size_t>(id - 1)].first;
      total += scores[static_cast<std::size_t>(id - 1)].second;
    }
    BOOST_TEST(spelled == input);
    BOOST_TEST(total == best(best, input));
  }
  std::vector<std::int32_t> ids;
  model.encode("xya\xFFz", ids);
  BOOST_TEST(ids == (std::vector<std::int32_t>{0, 1, 0}));  // a run of unknown characters is one unknown
}

// A user-defined piece scores -0.1, whatever the best score of the others: SentencePiece's bonus.
BOOST_AUTO_TEST_CASE(unigram_prefers_user_defined_pieces) {
  text::unigram_parts parts;
  parts.pieces = {{"a", 1, -3.0, false}, {"b", 2, -3.25, false}, {"bb", 3, -3.5, false}, {"ab", 4, 0.0, true}};
  std::vector<std::int32_t> ids;
  text::unigram(parts).encode("abb", ids);
  BOOST_TEST(ids == (std::vector<std::int32_t>{4, 2}));
}

// A word that is a piece is taken whole, even where no merge leads to it; longer words are merged.
BOOST_AUTO_TEST_CASE(ignore_merges_takes_whole_words) {
  for (const bool over_bytes : {false, true})
    for (const bool ignore_merges : {false, true}) {
      const std::string file =
          R"({"model": {"vocab": {"a": 0, "b": 1, "c": 2, "ab": 3, "abc": 4}, "merges": ["a b"],
          "ignore_merges": )" +
          std::string(ignore_merges ? "true" : "false") + "}" +
          (over_bytes ? R"(, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false})" : "") + "}";
      const text::tokenizer_parts parts = text::read_tokenizer_json(file, "test");
      std::vector<std::int32_t> ids;
      const text::bpe& model = std::get<text::bpe>(parts.model);
      model.encode("abc", ids);
      BOOST_TEST(ids == (ignore_merges ? std::vector<std::int32_t>{4} : std::vector<std::int32_t>{3, 2}));
      ids.clear();
      model.encode("abcc", ids);
      BOOST_TEST(ids == (std::vector<std::int32_t>{3, 2, 2}));
    }
}

BOOST_AUTO_TEST_CASE(utf8_is_read_strictly) {
  const auto read = [](const std::string& bytes) {
    return text::decode_utf8(bytes.data(), bytes.data() + bytes.size());
  };
  for (const char32_t c :
       {U'a', U'\x7F', U'\x80', U'\x7FF', U'\x800', U'\xD7FF', U'\xE000', U'\xFFFF', U'\x10000', U'\x10FFFF'}) {
    std::string spelled;
    text::append_utf8(spelled, c);
    BOOST_TEST((read(spelled).value == c));
    BOOST_TEST(read(spelled).length == spelled.size());
    const auto back = text::decode_utf8_before(spelled.data(), spelled.data() + spelled.size());
    BOOST_TEST((back.value == c));
  }
  for (const char* wrong : {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xE4\xBD",
                            "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF0\x9F\x98", "\xFF"}) {
    BOOST_TEST((read(wrong).value == text::not_utf8));
    BOOST_TEST(read(wrong).length == 1U);
  }
}

BOOST_AUTO_TEST_CASE(byte_alphabet_is_a_bijection) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(static_cast<unsigned char>(byte)));
  const text::byte_alphabet& alphabet = text::byte_alphabet::get();
  std::string back;
  BOOST_TEST(alphabet.read(alphabet.spell(all), back));
  BOOST_TEST(back == all);
  BOOST_TEST(alphabet.spell(" \n") == "\xC4\xA0\xC4\x8A");
  BOOST_TEST(!alphabet.read("\xE4\xBD\xA0", back));
  BOOST_TEST(back == all);
}

BOOST_AUTO_TEST_CASE(added_tokens_leftmost_and_longest) {
  text::token_finder finder;
  const auto add = [&](const std::string& content, std::int32_t id) -> text::added_token {
    text::added_token token;
    token.content = content;
    token.id = id;
    return token;
  };
  finder.add("<a>", add("<a>", 1));
  finder.add("<a><b>", add("<a><b>", 2));
  text::added_token word = add("cat", 3);
  word.single_word = true;
  finder.add("cat", word);
  text::added_token greedy = add("<g>", 4);
  greedy.lstrip = greedy.rstrip = true;
  finder.add("<g>", greedy);
  text::added_token special = add("<s>", 5);
  special.special = true;
  finder.add("<s>", special);
  const auto found = [&](const std::string& input, bool parse_special = true) {
    std::string result;
    finder.each(
        input, parse_special,
        [&](std::size_t begin, std::size_t end) { result += "[" + input.substr(begin, end - begin) + "]"; },
        [&](std::int32_t id) { result += std::to_string(id); });
    return result;
  };
  BOOST_TEST(found("") == "");
  BOOST_TEST(found("x<a><b><a>y") == "[x]21[y]");
  BOOST_TEST(found("<a><") == "1[<]");
  BOOST_TEST(found("a cat, concat cats cat") == "[a ]3[, concat cats ]3");
  BOOST_TEST(found("a \n<g> \t b<g>") == "[a]4[b]4");
  BOOST_TEST(found("a <g> <g> b") == "[a]44[b]");
  BOOST_TEST(found("<s>x<s>") == "5[x]5");
  BOOST_TEST(found("<s>x<a>", false) == "[<s>x]1");
}

BOOST_AUTO_TEST_CASE(patterns_are_searched_for_without_quadratic_cost) {
  const text::regex spaces("\\s+(?!\\S)|\\s+");
  text::regex::match found;
  BOOST_TEST(spaces.find("a  b", 0, found));
  BOOST_TEST(found.begin == 1U);
  BOOST_TEST(found.end == 2U);
  BOOST_TEST(!spaces.find("ab\xFF\xE1\xA0\x8E", 0, found));  // U+180E is no white space
  BOOST_TEST(text::regex("[\\s]").find("\xC2\x85", 0, found));
  BOOST_TEST(!text::regex("[^\\s]").find("\xC2\x85 ", 0, found));
  BOOST_TEST(text::regex("[]\\s]x").find("]x", 0, found));
  BOOST_TEST(text::regex("[[:digit:]\\s]x").find("\xC2\x85x", 0, found));  // the inner ] does not end the class
  BOOST_TEST(!text::regex("[[:digit:]\\s]x").find("]x", 0, found));
  BOOST_TEST(text::regex("\\S").find("\xC2\x85y", 0, found));
  BOOST_TEST(found.begin == 2U);
  BOOST_CHECK_THROW(text::regex("(", "file.json"), lodestone::format_error);
}

BOOST_AUTO_TEST_CASE(protocol_buffers_are_read_strictly) {
  const auto walk = [](std::string_view bytes) {
    int fields = 0;
    for (text::protobuf_reader message(bytes, "x"); message.next();) ++fields;
    return fields;
  };
  BOOST_TEST(walk("") == 0);
  BOOST_TEST(walk(std::string_view("\x08\x96\x01\x12\x01z\x1d\0\0\0\0", 11)) == 3);
  for (const std::string_view wrong :
       {std::string_view("\x08"), std::string_view("\x12\x05z"), std::string_view("\x00\x01", 2),
        std::string_view("\x0b"), std::string_view("\x1d\x01"),
        std::string_view("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")})
    BOOST_CHECK_THROW(walk(wrong), lodestone::format_error);
  text::protobuf_reader message("\x12\x01z", "x");
  BOOST_TEST(message.next());
  BOOST_CHECK_THROW((void)message.integer(), lodestone::format_error);
}

BOOST_AUTO_TEST_CASE(tables_hold_what_was_put_in) {
  text::piece_table pieces;
  for (std::int32_t i = 0; i < 5000; ++i) BOOST_TEST(pieces.insert("key " + std::to_string(i), i));
  BOOST_TEST(!pieces.insert("key 17", 9));
  for (std::int32_t i = 0; i < 5000; ++i) BOOST_TEST(pieces.find("key " + std::to_string(i)) == i);
  BOOST_TEST(pieces.find("key") == text::piece_table::none);
  BOOST_TEST(text::piece_table().find("") == text::piece_table::none);
  text::token_list tokens;
  tokens.add("a", 3, "file");
  tokens.add("a", 3, "file", true);
  BOOST_CHECK_THROW(tokens.add("b", 3, "file"), lodestone::format_error);
  BOOST_CHECK_THROW(tokens.add("a", 4, "file"), lodestone::format_error);
  BOOST_TEST(tokens.size() == 4);
  BOOST_TEST(!tokens.contains(2));
}

BOOST_AUTO_TEST_SUITE_END()
