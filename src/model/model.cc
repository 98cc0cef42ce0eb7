#include "model/model.h"

namespace litegap {
namespace {

const Signature* main_signature(const Model& model) {
  for (const Signature& s : model.signatures) {
    if (s.graph == 0) return &s;
  }
  return nullptr;
}

std::string public_name(const Model& model, const std::vector<std::pair<std::string, int>>* names,
                        int tensor) {
  if (names != nullptr) {
    for (const auto& [name, index] : *names) {
      if (index == tensor) return name;
    }
  }
  return model.main().tensors[static_cast<std::size_t>(tensor)].name;
}

}  // namespace

std::string input_name(const Model& model, std::size_t i) {
  const Signature* s = main_signature(model);
  return public_name(model, s ? &s->inputs : nullptr, model.main().inputs.at(i));
}

std::string output_name(const Model& model, std::size_t i) {
  const Signature* s = main_signature(model);
  return public_name(model, s ? &s->outputs : nullptr, model.main().outputs.at(i));
}

std::string op_label(const Graph& graph, std::size_t op) {
  const Op& o = graph.ops.at(op);
  std::string label = fmt::format("#{} {}", op, o.name());
  if (!o.outputs.empty() && o.outputs[0] >= 0 &&
      static_cast<std::size_t>(o.outputs[0]) < graph.tensors.size()) {
    label += " (" + graph.tensors[static_cast<std::size_t>(o.outputs[0])].name + ")";
  }
  return label;
}

Tensor::Tensor() = default;
Tensor::Tensor(const Tensor&) = default;
Tensor::Tensor(Tensor&&) noexcept = default;
Tensor& Tensor::operator=(const Tensor&) = default;
Tensor& Tensor::operator=(Tensor&&) noexcept = default;
Tensor::~Tensor() = default;

Graph::Graph() = default;
Graph::Graph(const Graph&) = default;
Graph::Graph(Graph&&) noexcept = default;
Graph& Graph::operator=(const Graph&) = default;
Graph& Graph::operator=(Graph&&) noexcept = default;
Graph::~Graph() = default;

Model::Model() = default;
Model::Model(const Model&) = default;
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(const Model&) = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

}  // namespace litegap
