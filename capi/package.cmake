# Installation: header, library, CMake package, pkg-config file, man pages, and the .deb.
include(CMakePackageConfigHelpers)

set(namelink NAMELINK_COMPONENT development)
set(link_name -ldskvs)
if(SKBUILD)
  set(namelink NAMELINK_SKIP)
  set(link_name -l:libdskvs.so.${dskvs_abi})
endif()
install(TARGETS dskvs EXPORT dskvs-targets
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT runtime ${namelink})
install(FILES
  "${CMAKE_CURRENT_SOURCE_DIR}/include/dskvs/dskvs.h"
  "${PROJECT_SOURCE_DIR}/bindings/c/include/dskvs/dskvs_dl.h"
  "${PROJECT_SOURCE_DIR}/bindings/cpp/include/dskvs/dskvs.hpp"
  DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/dskvs" COMPONENT development)

set(cmake_dir "${CMAKE_INSTALL_LIBDIR}/cmake/dskvs")
configure_package_config_file(dskvs-config.cmake.in dskvs-config.cmake
  INSTALL_DESTINATION "${cmake_dir}" NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(dskvs-config-version.cmake COMPATIBILITY SameMajorVersion)
install(EXPORT dskvs-targets NAMESPACE dskvs:: DESTINATION "${cmake_dir}" COMPONENT development)
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/dskvs-config.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/dskvs-config-version.cmake"
  DESTINATION "${cmake_dir}" COMPONENT development)

# Relative to where dskvs.pc itself lies, so that the prefix may be moved.
file(RELATIVE_PATH pc_prefix
  "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_FULL_INCLUDEDIR}/..")
string(REGEX REPLACE "/$" "" pc_prefix "${pc_prefix}")
file(RELATIVE_PATH pc_include
  "${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig" "${CMAKE_INSTALL_FULL_INCLUDEDIR}")
configure_file(dskvs.pc.in dskvs.pc @ONLY)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/dskvs.pc"
  DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig" COMPONENT development)

if(NOT SKBUILD)
  install(FILES "${PROJECT_SOURCE_DIR}/LICENSE"
    DESTINATION "${CMAKE_INSTALL_DOCDIR}" COMPONENT runtime)
  install(FILES "${PROJECT_SOURCE_DIR}/docs/man/dskvs.3"
    DESTINATION "${CMAKE_INSTALL_MANDIR}/man3" COMPONENT development)
  if(DSKVS_CLI)
    install(FILES "${PROJECT_SOURCE_DIR}/docs/man/dskvs.1"
      DESTINATION "${CMAKE_INSTALL_MANDIR}/man1" COMPONENT runtime)
  endif()

  set(CPACK_GENERATOR DEB)
  set(CPACK_PACKAGE_VENDOR dskvs)
  set(DSKVS_MAINTAINER "The dskvs authors <dskvs@example.org>"
    CACHE STRING "Who answers for a Debian package: name and address")
  set(CPACK_PACKAGE_CONTACT "${DSKVS_MAINTAINER}")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Dead simple embedded key-value store")
  set(CPACK_PACKAGE_DESCRIPTION
    "An embedded store for data that fits in RAM: every call is answered from"
    "memory, a background thread writes to disk, and any crash is survived in"
    "one state that existed.")
  list(JOIN CPACK_PACKAGE_DESCRIPTION "\n" CPACK_PACKAGE_DESCRIPTION)
  set(CPACK_RESOURCE_FILE_LICENSE "${PROJECT_SOURCE_DIR}/LICENSE")
  set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
  set(CPACK_STRIP_FILES ON)
  set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
    OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
  set(CPACK_DEBIAN_PACKAGE_SECTION libs)
  set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
  set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
  # Functions may be added under one number: a program needs the version that it was linked with.
  set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS_POLICY ">=")
  set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA "${CMAKE_CURRENT_SOURCE_DIR}/debian/triggers")
  set(CPACK_PRE_BUILD_SCRIPTS "${CMAKE_CURRENT_SOURCE_DIR}/debian/pack.cmake")
  include(CPack)
endif()
