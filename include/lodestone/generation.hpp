// Generating text: every public header of generate/, and the language of chat templates. lodestone.hpp does not include
// it.
#pragma once

#include <lodestone/generate/concept.hpp>
#include <lodestone/generate/endpoint.hpp>
#include <lodestone/generate/endpoint_protocol.hpp>
#include <lodestone/generate/local.hpp>
#include <lodestone/generate/sampling.hpp>
#include <lodestone/generate/text_stream.hpp>
#include <lodestone/generate/tokens.hpp>
#include <lodestone/text/jinja_interpreter.hpp>
#include <lodestone/text/jinja_lexer.hpp>
#include <lodestone/text/jinja_syntax.hpp>
#include <lodestone/text/jinja_value.hpp>

/// Generating text.
namespace lodestone::generate {}
