# litestream_layer(NAME base DEPS fmt::fmt ...)
#
# One target per folder: every .cc beside the caller except *_test.cc goes into
# the static library ls_<NAME>; the *_test.cc files become <NAME>_test, and its
# cases show in ctest with the label "unit".
function(litestream_layer)
  cmake_parse_arguments(L "" "NAME" "DEPS;TEST_DEPS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.h)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$")
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  set(library ls_${L_NAME})
  if(sources)
    add_library(${library} STATIC ${sources})
    target_sources(${library} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR}/src
                                     FILES ${headers})
    set_target_properties(${library} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
    target_compile_options(${library} PRIVATE ${LITESTREAM_WARNINGS})
    target_include_directories(${library} PUBLIC ${PROJECT_SOURCE_DIR}/src
                                                 ${PROJECT_SOURCE_DIR}/include)
    target_link_libraries(${library} PUBLIC ${L_DEPS})
  else()
    add_library(${library} INTERFACE)
  endif()
  if(tests AND LITESTREAM_TESTS)
    add_executable(${L_NAME}_test ${tests})
    target_compile_options(${L_NAME}_test PRIVATE ${LITESTREAM_WARNINGS})
    # clang-tidy reads the program: for the tests it would take twice as long.
    set_target_properties(${L_NAME}_test PROPERTIES CXX_CLANG_TIDY "")
    target_include_directories(${L_NAME}_test PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(${L_NAME}_test PRIVATE ${library} ${L_TEST_DEPS} GTest::gmock
                                                 GTest::gtest_main)
    target_compile_definitions(${L_NAME}_test PRIVATE
                               LITESTREAM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
    gtest_discover_tests(${L_NAME}_test PROPERTIES LABELS "unit" ${LITESTREAM_TEST_ENVIRONMENT}
                         DISCOVERY_MODE PRE_TEST)
  endif()
endfunction()
