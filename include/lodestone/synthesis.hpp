// Making training data with a model: every public header of synthesis/. lodestone.hpp does not include it.
#pragma once

#include <lodestone/synthesis/ask.hpp>
#include <lodestone/synthesis/chunks.hpp>
#include <lodestone/synthesis/importance.hpp>
#include <lodestone/synthesis/language.hpp>
#include <lodestone/synthesis/logo.hpp>
#include <lodestone/synthesis/longalign.hpp>
#include <lodestone/synthesis/pairs.hpp>
#include <lodestone/synthesis/question_stage.hpp>
#include <lodestone/synthesis/questions.hpp>
#include <lodestone/synthesis/selection.hpp>
#include <lodestone/synthesis/self_instruct.hpp>
#include <lodestone/synthesis/stage_files.hpp>

/// Making training data with a model.
namespace lodestone::synthesis {}
