// NumPy arrays and litegap's: copies in, copies out.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <string>

#include "model/array.h"

namespace litegap::python {

// Any contiguous array of a type that a model file can hold.
using Given = nanobind::ndarray<nanobind::c_contig, nanobind::device::cpu, nanobind::ro>;

// Throws Error naming `what` when the type has no counterpart.
Array from_numpy(const Given& given, const std::string& what);
nanobind::object to_numpy(const Array& array);

}  // namespace litegap::python
