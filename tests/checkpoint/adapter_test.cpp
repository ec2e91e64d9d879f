// Adapter folders: PEFT's own give PEFT's logits, gradients and merged weights; ours come back as they were.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include <lodestone/attention/blocked.hpp>
#include <lodestone/checkpoint/adapter.hpp>
#include <lodestone/checkpoint/weights.hpp>
#include <lodestone/core/file.hpp>
#include <lodestone/host/backend.hpp>
#include <lodestone/model/config_json.hpp>
#include <lodestone/model/llama.hpp>

#include "support/oracle.hpp"
#include "support/support.hpp"

namespace {

using namespace lodestone;
using lodestone_test::data;
using lodestone_test::temporary_folder;
using backend = host<double>;
using model = llama<backend, blocked_attention>;

struct adapter_case {
  const char* name;
  const char* base;
  std::int64_t rank;
  double scale;
  std::size_t modules;
};
const adapter_case cases[] = {
    {"llama", "llama", 4, 6.0 / 4.0, 8},
    {"by-layer", "qwen3", 2, 5.0 / std::sqrt(2.0), 3},
    {"with-modules", "llama-biases", 3, 1.0, 14},
    {"untying", "llama-tied", 2, 2.0, 2},
};

std::filesystem::path base_of(const adapter_case& c) { return data("models") / c.base; }
std::filesystem::path folder_of(const adapter_case& c) { return data("adapters") / c.name; }

/// The base with the adapter of a folder, ready to train.
parameters::replicated<backend> adapted(const std::filesystem::path& base, const adapter_source& source) {
  auto store = parameters::load<backend>(base, {}, {.threads = 2, .trained = source.parts()});
  parameters::load_adapter(store, source);
  return store;
}

double distance(std::span<const double> x, std::span<const double> y) {
  BOOST_REQUIRE(x.size() == y.size());
  double d = 0.0, n = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    d += (x[i] - y[i]) * (x[i] - y[i]);
    n += y[i] * y[i];
  }
  return std::sqrt(d / std::max(n, 1e-300));
}

/// Every trained tensor's bytes by name.
template <class Store>
std::map<std::string, std::vector<double>> trained_of(Store& store) {
  std::map<std::string, std::vector<double>> result;
  for (const stored_tensor& tensor : stored_tensors(store)) {
    if (!tensor.is_trained) continue;
    const auto view = store.weights(tensor.unit).rows(tensor.offset, tensor.offset + tensor.count);
    result[tensor.name].assign(view.data(), view.data() + tensor.count);
  }
  return result;
}

/// A copy of a case's adapter folder whose adapter_config.json has `from` replaced by `to`.
std::filesystem::path edited(const temporary_folder& folder, const std::string& from, const std::string& to) {
  const std::filesystem::path copy = folder / "edited";
  std::filesystem::remove_all(copy);
  std::filesystem::copy(folder_of(cases[0]), copy);
  std::string text = read_text(copy / "adapter_config.json");
  const std::size_t at = text.find(from);
  BOOST_REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  atomic_file file(copy / "adapter_config.json");
  file.write(text);
  file.commit();
  return copy;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_adapter)

BOOST_AUTO_TEST_CASE(the_folders_of_peft_say_what_they_adapt) {
  for (const adapter_case& c : cases) {
    const adapter_source source(folder_of(c), read_model_config(base_of(c)));
    BOOST_TEST(source.parts().adapters.rank == c.rank, c.name);
    BOOST_TEST(source.parts().adapters.scale() == c.scale, c.name);
    BOOST_TEST(source.parts().adapters.targets.size() == c.modules, c.name);
    BOOST_TEST(!source.parts().projections);
    const std::string name = c.name;
    BOOST_TEST(source.parts().embeddings == (name == "with-modules" || name == "untying"), c.name);
    BOOST_TEST(source.parts().norms == (name == "with-modules"), c.name);
    BOOST_TEST(source.unties() == (name == "untying"), c.name);
  }
}

BOOST_AUTO_TEST_CASE(adapters_of_peft_give_its_logits_and_gradients) {
  for (const adapter_case& c : std::span(cases).first(3)) {
    const adapter_source source(folder_of(c), read_model_config(base_of(c)));
    auto store = adapted(base_of(c), source);
    model m(store.config(), store);
    const safetensors::file numbers(folder_of(c) / "oracle.safetensors");
    const auto ids = numbers.values<std::int64_t>("ids");
    const token_batch batch = lodestone_test::text_batch(ids);

    std::vector<std::int64_t> rows(ids.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
    const auto logits = m.logits(batch, rows);
    BOOST_TEST(distance(logits.view().flat(), numbers.values<double>("logits")) < 1e-12, c.name);

    store.zero_gradients();
    const auto mean = [](std::span<const double>, std::span<double> out) {
      std::ranges::fill(out, -1.0 / static_cast<double>(out.size()));
      return 0.0;
    };
    m.train(batch, activations::checkpoint{}.table(store.config().layers), true, mean, true);
    std::size_t compared = 0;
    for (const stored_tensor& tensor : stored_tensors(store)) {
      const std::string key = "grad.base_model.model." + tensor.name;
      if (numbers.find(key) == nullptr) continue;
      ++compared;
      const auto own = store.gradient(tensor.unit).rows(tensor.gradient_offset, tensor.gradient_offset + tensor.count);
      BOOST_TEST(distance(const_view(own).flat(), numbers.values<double>(key)) < 1e-11, c.name << " " << tensor.name);
    }
    BOOST_TEST(compared >= 2 * c.modules, c.name);
  }
}

BOOST_AUTO_TEST_CASE(merging_gives_the_weights_that_peft_merges) {
  temporary_folder folder;
  thread_pool pool(2);
  for (const adapter_case& c : cases) {
    const std::filesystem::path target = folder / c.name;
    merge_adapter(base_of(c), folder_of(c), target, {.type = dtype::f32}, pool);
    const model_config config = read_model_config(target);
    BOOST_TEST(config.tied_head == (read_model_config(base_of(c)).tied_head && std::string(c.name) != "untying"));
    const tensor_source merged(target);
    check_tensors(merged, config);
    const tensor_source base(base_of(c));
    const safetensors::file numbers(folder_of(c) / "oracle.safetensors");
    std::size_t changed = 0;
    for (const std::string& name : merged.names()) {
      std::vector<double> own(static_cast<std::size_t>(*safetensors::element_count(merged.at(name).shape)));
      convert_elements(merged.at(name), std::span<double>{own});
      if (numbers.find("merged." + name) != nullptr) {
        ++changed;
        BOOST_TEST(distance(own, numbers.values<double>("merged." + name)) < 1e-7, c.name << " " << name);
      } else {
        const std::string from = base.find(name) != nullptr ? name : "model.embed_tokens.weight";
        BOOST_TEST(std::ranges::equal(merged.at(name).bytes, base.at(from).bytes), c.name << " " << name);
      }
    }
    BOOST_TEST(changed >= c.modules, c.name);
  }
}

BOOST_AUTO_TEST_CASE(an_adapter_that_unties_cannot_be_trained_on_the_tied_model) {
  const adapter_case& c = cases[3];
  const adapter_source source(folder_of(c), read_model_config(base_of(c)));
  auto store = parameters::load<backend>(base_of(c), {}, {.threads = 1, .trained = source.parts()});
  BOOST_CHECK_THROW(parameters::load_adapter(store, source), config_error);
}

BOOST_AUTO_TEST_CASE(a_saved_adapter_comes_back_bit_for_bit) {
  for (const char* base : {"llama", "llama-tied", "chatglm3"})
    for (const bool embeddings : {false, true}) {
      temporary_folder folder;
      adapter_config adapters{.rank = 3, .alpha = 1.5, .targets = {}};
      if (std::string(base) == "llama") adapters.targets = {"model.layers.1.self_attn.q_proj", "up_proj"};
      const trained_parts trained = trained_parts::only(adapters, embeddings, embeddings);
      const std::filesystem::path source = data("models") / base;
      auto store = parameters::load<backend>(source, {}, {.threads = 1, .trained = trained});
      for (const stored_tensor& tensor : stored_tensors(store)) {  // B too shall not be zero
        if (!is_adapter(tensor.kind)) continue;
        std::vector<double> values(static_cast<std::size_t>(tensor.count));
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i) + 1.0);
        store.set_weights(tensor, std::span<const double>{values});
      }
      parameters::save_adapter(store, folder / "out", "a base", {.type = dtype::f64});
      BOOST_CHECK_THROW(parameters::save_adapter(store, folder / "out", "a base"), io_error);
      parameters::save_adapter(store, folder / "out", "a base",
                               {.type = dtype::f64, .existing = existing_folder::replace});

      const adapter_source again(folder / "out", store.config());
      BOOST_TEST(!again.unties());
      auto other = adapted(source, again);
      BOOST_TEST(trained_of(other) == trained_of(store), base);
      BOOST_TEST(other.trained().embeddings == embeddings);
      const std::string text = read_text(folder / "out" / "adapter_config.json");
      const bool is_short = text.find("model.layers.1") == std::string::npos;
      BOOST_TEST(is_short == (std::string(base) != "llama"), text);  // q_proj of one layer only has no short name
    }
}

BOOST_AUTO_TEST_CASE(a_store_refuses_an_adapter_of_another_shape) {
  const adapter_case& c = cases[0];
  const adapter_source source(folder_of(c), read_model_config(base_of(c)));
  const auto attempt = [&](const adapter_config& adapters) {
    auto store = parameters::load<backend>(base_of(c), {}, {.threads = 1, .trained = trained_parts::only(adapters)});
    parameters::load_adapter(store, source);
  };
  BOOST_CHECK_NO_THROW(attempt({.rank = 4, .alpha = 6.0, .targets = {}}));
  BOOST_CHECK_THROW(attempt({.rank = 2, .alpha = 3.0, .targets = {}}), config_error);
  BOOST_CHECK_THROW(attempt({.rank = 4, .alpha = 5.0, .targets = {}}), config_error);
  BOOST_CHECK_THROW(attempt({.rank = 4, .alpha = 6.0, .targets = {"q_proj"}}), config_error);
  BOOST_CHECK_THROW(attempt({.rank = 4, .alpha = 6.0, .targets = {"all-linear"}}), config_error);
  auto full = parameters::load<backend>(base_of(c), {}, {.threads = 1});
  temporary_folder folder;
  BOOST_CHECK_THROW(parameters::save_adapter(full, folder / "out", ""), config_error);
}

BOOST_AUTO_TEST_CASE(adapters_of_another_arithmetic_are_refused_by_key) {
  temporary_folder folder;
  const model_config config = read_model_config(base_of(cases[0]));
  const auto refused = [&](const std::string& from, const std::string& to, const std::string& key) {
    try {
      const adapter_source source(edited(folder, from, to), config);
      BOOST_ERROR(to + " was read");
    } catch (const error& failure) {
      BOOST_TEST(std::string(failure.what()).find(key) != std::string::npos, failure.what());
    }
  };
  BOOST_CHECK_NO_THROW(adapter_source(edited(folder, "\"LORA\"", "\"LORA\""), config));
  refused("\"LORA\"", "\"IA3\"", "peft_type");
  refused("\"use_dora\": false", "\"use_dora\": true", "use_dora");
  refused("\"bias\": \"none\"", "\"bias\": \"all\"", "bias");
  refused("\"rank_pattern\": {}", "\"rank_pattern\": {\"q_proj\": 2}", "rank_pattern");
  refused("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa_niter_4\"", "pissa");
  refused("\"r\": 4", "\"r\": 0", "r");
  refused("\"r\": 4", "\"r\": 8", "lora_A");  // not what the tensors have
  refused("\"lora_alpha\": 6", "\"lora_alpha\": \"6\"", "lora_alpha");
  refused("{", "[", "JSON");
}

BOOST_AUTO_TEST_CASE(a_folder_that_does_not_belong_to_the_model_is_named) {
  const auto message = [](const std::filesystem::path& folder, const char* base) -> std::string {
    try {
      const adapter_source source(folder, read_model_config(data("models") / base));
      return "read";
    } catch (const error& failure) {
      return failure.what();
    }
  };
  BOOST_TEST(message(data("models") / "llama", "llama").find("adapter_config.json") != std::string::npos);
  const std::string shapes = message(folder_of(cases[0]), "llama3");
  BOOST_TEST(shapes.find("lora_") != std::string::npos, shapes);
  const std::string names = message(folder_of(cases[0]), "chatglm3");
  BOOST_TEST(names.find("fits no module") != std::string::npos, names);
  temporary_folder folder;
  std::filesystem::create_directory(folder / "empty");
  std::filesystem::copy_file(folder_of(cases[0]) / "adapter_config.json", folder / "empty" / "adapter_config.json");
  BOOST_TEST(message(folder / "empty", "llama").find("adapter_model") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
