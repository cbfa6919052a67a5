# What needs nvcc: the kernels, on a GPU and in the emulator.
set(CMAKE_CUDA_ARCHITECTURES OFF)
if(NOT DEFINED CMAKE_CUDA_HOST_COMPILER AND NOT DEFINED ENV{CUDAHOSTCXX})
  set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER}) # nvcc itself would take the g++ on PATH, if there is one
endif()
enable_language(CUDA)
set(CMAKE_CUDA_IMPLICIT_LINK_LIBRARIES) # or a library with CUDA objects would ask for nvcc's C++ runtime besides its own
find_package(CUDAToolkit REQUIRED)
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
set(CODE)
foreach(sm IN LISTS MASKLINE_SM)
  list(APPEND CODE "SHELL:-gencode arch=compute_${sm},code=sm_${sm}")
  set(LAST_SM ${sm})
endforeach()
list(APPEND CODE "SHELL:-gencode arch=compute_${LAST_SM},code=compute_${LAST_SM}")

sources_of(KERNELS device/*.cu)
sources_of(DEVICE_API device/api.cpp)
add_library(maskline_kernels OBJECT ${KERNELS})
target_include_directories(maskline_kernels PRIVATE ${CMAKE_SOURCE_DIR})
# Clang counts what CUDA's own headers define for nothing; functions of ours are counted in the emulator below.
target_compile_options(
  maskline_kernels PRIVATE ${CODE} "SHELL:-Xcompiler -Wall,-Wextra,-Wno-unused-parameter,-Wno-unused-function"
                           "SHELL:--threads 2" --expt-relaxed-constexpr)

add_library(maskline_cuda SHARED ${DEVICE_API} common/status.cpp $<TARGET_OBJECTS:maskline_kernels>)
target_include_directories(maskline_cuda PRIVATE ${CMAKE_SOURCE_DIR})
target_compile_options(maskline_cuda PRIVATE ${WARNINGS})
target_link_libraries(maskline_cuda PRIVATE CUDA::cudart_static)
show_only(maskline_cuda ops)

# No fused multiply-adds in NMS: what it keeps must not differ between host and GPU.
set_source_files_properties(
  ${CMAKE_SOURCE_DIR}/proposal_nms/device/kernel.cu ${CMAKE_SOURCE_DIR}/classwise_nms/device/kernel.cu
  PROPERTIES COMPILE_OPTIONS "-fmad=false")

# The kernels again, by the host compiler.
set(SIMT_SOURCES)
foreach(source IN LISTS KERNELS ITEMS ${CMAKE_SOURCE_DIR}/testing/simt/self_test.cu)
  file(RELATIVE_PATH relative ${CMAKE_SOURCE_DIR} ${source})
  set(copy ${CMAKE_BINARY_DIR}/simt/${relative}.cpp)
  file(WRITE ${copy}.new "#include \"${relative}\"\n")
  configure_file(${copy}.new ${copy} COPYONLY)
  list(APPEND SIMT_SOURCES ${copy})
endforeach()
add_library(maskline_simt SHARED ${SIMT_SOURCES} ${DEVICE_API} testing/simt/simt.cpp common/status.cpp)
target_include_directories(maskline_simt PRIVATE ${CMAKE_SOURCE_DIR})
target_include_directories(maskline_simt SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_compile_definitions(maskline_simt PRIVATE MASKLINE_SIMT)
target_compile_options(maskline_simt PRIVATE ${WARNINGS} ${MATHS} -O2 -g -Wno-unused-parameter -Wno-unknown-pragmas)
# Fibers jump from stack to stack, which the checked longjmp of a distribution's default (Ubuntu's) takes for an attack.
target_compile_options(maskline_simt PRIVATE -U_FORTIFY_SOURCE)

# pycuda's own binding runs over this driver where no GPU is, and is linked to it. In a folder of its own, on no library's
# path: on a machine with a GPU it must not be taken for the driver.
add_library(maskline_play_driver SHARED testing/driver/driver.cpp)
target_include_directories(maskline_play_driver SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_compile_options(maskline_play_driver PRIVATE ${WARNINGS})
set_target_properties(
  maskline_play_driver PROPERTIES OUTPUT_NAME cuda VERSION 1.0 SOVERSION 1 CXX_VISIBILITY_PRESET default
                                  LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/play_driver)
show_only(maskline_play_driver driver)

# Each op as a node that runs on a GPU, for TensorRT and for ONNX Runtime.
sources_of(ON_DEVICE on_device.cpp)
add_library(maskline_on_device OBJECT ${ON_DEVICE})
target_include_directories(maskline_on_device PRIVATE ${CMAKE_SOURCE_DIR})
target_include_directories(maskline_on_device SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_compile_options(maskline_on_device PRIVATE ${WARNINGS})
