# What needs ONNX Runtime's headers. The library is built once for every version from 1.18 on, and links none.
if(NOT EXISTS ${MASKLINE_ONNXRUNTIME_INCLUDE}/onnxruntime_cxx_api.h)
  message(FATAL_ERROR "MASKLINE_ONNXRUNTIME_INCLUDE: there is no ${MASKLINE_ONNXRUNTIME_INCLUDE}/onnxruntime_cxx_api.h")
endif()

add_library(maskline_ort_headers INTERFACE)
target_include_directories(maskline_ort_headers SYSTEM INTERFACE ${MASKLINE_ONNXRUNTIME_INCLUDE})
target_include_directories(maskline_ort_headers INTERFACE ${CMAKE_SOURCE_DIR})
# What runs once a call; -O3 would take twice as long to compile.
target_compile_options(maskline_ort_headers INTERFACE ${WARNINGS} -O1)

add_library(maskline_ort_register OBJECT ort/register.cpp)
target_link_libraries(maskline_ort_register PRIVATE maskline_ort_headers)

function(add_custom_ops TARGET)
  add_library(${TARGET} SHARED $<TARGET_OBJECTS:maskline_ort_register> $<TARGET_OBJECTS:maskline_nodes> ${ARGN})
  target_link_libraries(${TARGET} PRIVATE maskline_ort_headers)
  target_link_libraries(${TARGET} PRIVATE Threads::Threads)
  show_only(${TARGET} custom_ops)
  target_link_options(${TARGET} PRIVATE -Wl,--no-undefined)
endfunction()

function(over_cuda TARGET)
  target_sources(${TARGET} PRIVATE $<TARGET_OBJECTS:maskline_on_device> ${ARGN})
  target_include_directories(${TARGET} SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  target_link_libraries(${TARGET} PRIVATE CUDA::cudart_static)
endfunction()

sources_of(ON_HOST on_host.cpp)
add_custom_ops(maskline_ort ${ON_HOST} ort/ops.cpp $<TARGET_OBJECTS:maskline_host_ops>)
if(MASKLINE_CUDA)
  target_compile_definitions(maskline_ort PRIVATE MASKLINE_ORT_CUDA=1)
  over_cuda(maskline_ort $<TARGET_OBJECTS:maskline_kernels>)
  # The half for CUDA over the kernels of the emulator: it runs on the host's memory, for tests.
  add_custom_ops(maskline_ort_simt testing/ort/emulated_ops.cpp)
  over_cuda(maskline_ort_simt $<TARGET_OBJECTS:maskline_simt>)
endif()
