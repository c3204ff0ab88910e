# What a Debian package has otherwise than a prefix: run by cpack on the tree that it packs.
set(root "${CPACK_TEMPORARY_INSTALL_DIRECTORY}${CPACK_PACKAGING_INSTALL_PREFIX}")
set(documents "${root}/share/doc/dskvs")

file(RENAME "${documents}/LICENSE" "${documents}/copyright")
string(TIMESTAMP now "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE "${documents}/changelog" "dskvs (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * Made from the sources of dskvs ${CPACK_PACKAGE_VERSION}.

 -- ${CPACK_PACKAGE_CONTACT}  ${now}
")
file(GLOB pages "${root}/share/man/man*/*")
execute_process(COMMAND gzip -9n ${pages} "${documents}/changelog" COMMAND_ERROR_IS_FATAL ANY)

if(EXISTS "${root}/bin/dskvs")
  file(RPATH_REMOVE FILE "${root}/bin/dskvs")  # the system knows where its libraries lie
endif()
