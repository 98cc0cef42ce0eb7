// The judge of operators that pick, place and order elements: arrays of doubles, each output
// element computed by itself from its index, straight from the definition of the operator.
//
//   Grid y = make_grid({2, 2}, [](const Shape& at) { return at[0] == at[1] ? 1.0 : 0.0; });
#pragma once
#include <functional>
#include <optional>
#include <vector>

#include "model/array.h"
#include "model/op.h"

namespace litegap::oracle {

struct Grid {
  Shape shape;
  std::vector<double> at;
  double operator()(const Shape& index) const;  // inside of the shape
};

Grid make_grid(Shape shape, const std::function<double(const Shape&)>& value);
Grid grid_of(const Array& a);
Array array_of(const Grid& g, DType type);

// ---- picking and placing
Grid gather_nd(const Grid& from, const Grid& index);
Grid scatter_nd(const Grid& index, const Grid& updates, const Shape& shape, DType type);
Grid one_hot(const Grid& index, std::int32_t depth, double on, double off, std::int32_t axis);
Grid sparse_to_dense(const Grid& index, const Shape& shape, const Grid& values, double other);
Grid segments(OpCode op, const Grid& data, const Grid& ids, std::int32_t count, DType type);
Grid embedding_sparse(const Grid& ids, const Grid& places, const Shape& shape, const Grid& weights,
                      const Grid& table, int combiner);
Grid update_slice(const Grid& whole, const Grid& part, const std::vector<std::int32_t>& start);
Grid matrix_diag(const Grid& x);
Grid matrix_set_diag(const Grid& x, const Grid& diagonal);

// ---- order
Grid cumsum(const Grid& x, std::size_t axis, bool exclusive, bool reverse, DType type);
std::vector<Grid> top_k(const Grid& x, std::int32_t k);  // values, indices
Grid reverse(const Grid& x, const std::vector<bool>& axes);
Grid reverse_sequence(const Grid& x, const Grid& lengths, std::size_t seq, std::size_t batch);
Grid spread(const Grid& x, double value, const std::vector<std::int64_t>& low,
            const std::vector<std::int64_t>& high, const std::vector<std::int64_t>& interior);
Grid reduce_window(const Grid& x, double start, int function,
                   const std::vector<std::int64_t>& window, const std::vector<std::int64_t>& stride,
                   const std::vector<std::int64_t>& dilation, DType type);

// ---- floats
Grid conv_3d(const Grid& x, const Grid& filter, const std::vector<double>& bias,
             const Conv3dAttrs& attrs);
Grid conv_3d_transpose(const Grid& x, const Grid& filter, const std::vector<double>& bias,
                       const Conv3dAttrs& attrs, const Shape& out);
Grid l2_pool(const Grid& x, const PoolAttrs& attrs);
Grid local_response(const Grid& x, const LocalResponseNormAttrs& attrs, bool last);
// Real and imaginary parts along a new last axis.
Grid rfft2d(const Grid& x, std::int32_t height, std::int32_t width);
std::vector<std::int32_t> suppression(const Grid& boxes, const Grid& scores, std::int32_t most,
                                      double iou, double least);

// An integer as its type holds it; a float as float32 does.
double held(double v, DType type);

}  // namespace litegap::oracle
