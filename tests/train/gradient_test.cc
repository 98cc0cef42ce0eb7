// Gradients against finite differences in double precision, for every layer kind and loss.
#include <gtest/gtest.h>

#include "train/network.h"

namespace litegap {
namespace {

double loss_of(const Network<double>& net, Loss loss, const std::vector<double>& x,
               const std::vector<double>& target) {
  Network<double>::Values values;
  std::vector<double> gradient;
  net.forward(x.data(), values);
  return loss_and_gradient(loss, values.back(), target.data(), gradient);
}

void check(const std::vector<int>& input, const std::vector<LayerSpec>& specs, Loss loss) {
  Network<double> net(input, specs, 11);
  Random random(5);
  std::vector<double> x(net.input_size()),
      target(loss == Loss::kCrossEntropy ? 1 : net.output_size(), 1.0);
  for (double& v : x) v = random.normal();
  for (auto& l : net.layers()) {
    for (double& b : l.bias) b = 0.1 * random.normal();
  }
  Network<double>::Values values;
  std::vector<double> gradient;
  net.forward(x.data(), values);
  loss_and_gradient(loss, values.back(), target.data(), gradient);
  net.clear_gradients();
  net.backward(values, gradient);
  for (std::size_t i = 0; i < net.layers().size(); ++i) {
    auto& l = net.layers()[i];
    for (auto [parameters, gradients] :
         {std::pair{&l.weights, &l.grad_weights}, std::pair{&l.bias, &l.grad_bias}}) {
      for (std::size_t k = 0; k < parameters->size(); k += 1 + parameters->size() / 20) {
        double& p = (*parameters)[k];
        const double keep = p, h = 1e-6;
        p = keep + h;
        const double up = loss_of(net, loss, x, target);
        p = keep - h;
        const double down = loss_of(net, loss, x, target);
        p = keep;
        EXPECT_NEAR((*gradients)[k], (up - down) / (2 * h), 1e-6 * (1 + std::fabs((*gradients)[k])))
            << "layer " << i << " parameter " << k;
      }
    }
  }
}

TEST(Gradient, Dense) { check({1, 1, 5}, {dense(4, true), dense(3)}, Loss::kMeanSquared); }
TEST(Gradient, Conv) {
  check({6, 5, 2}, {conv(3, 3), conv(2, 3, false), dense(3)}, Loss::kCrossEntropy);
}
TEST(Gradient, Pools) {
  check({8, 8, 1}, {conv(4, 3), max_pool(2), conv(3, 3), global_average(), dense(3)},
        Loss::kCrossEntropy);
}

TEST(Fit, LearnsALine) {
  Random random(3);
  Array x = Array::zeros(DType::kFloat32, {200, 1}), y = Array::zeros(DType::kFloat32, {200, 1});
  for (std::size_t i = 0; i < 200; ++i) {
    x.mutable_span<float>()[i] = static_cast<float>(random.uniform());
    y.mutable_span<float>()[i] = 2 * x.span<float>()[i] + 1;
  }
  Network<float> net({1, 1, 1}, {dense(1)}, 1);
  const auto losses = fit(net, x, y, {.epochs = 300, .rate = 0.1, .loss = Loss::kMeanSquared});
  EXPECT_LT(losses.back(), 1e-3);
  EXPECT_NEAR(net.layers()[0].weights[0], 2, 0.1);
  EXPECT_NEAR(net.layers()[0].bias[0], 1, 0.1);
}

TEST(Fit, SameSeedSameWeights) {
  Array x = Array::zeros(DType::kFloat32, {8, 4, 4, 1}), y = Array::zeros(DType::kInt64, {8});
  Random random(3);
  for (float& v : x.mutable_span<float>()) v = static_cast<float>(random.normal());
  for (std::size_t i = 0; i < 8; ++i)
    y.mutable_span<std::int64_t>()[i] = static_cast<std::int64_t>(i % 2);
  Network<float> a({4, 4, 1}, {conv(2, 3), global_average(), dense(2)}, 9), b = a;
  fit(a, x, y, {.epochs = 3});
  fit(b, x, y, {.epochs = 3});
  EXPECT_EQ(a.layers()[0].weights, b.layers()[0].weights);
}

}  // namespace
}  // namespace litegap
