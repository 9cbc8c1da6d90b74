"""What Go's standard library decides, each module named after the Go package that it follows.

Everything follows Go 1.26; the last column says which earlier releases decide otherwise.

=============  ==================  =============================================================  ==========================
module         Go package          what it decides here                                           otherwise
=============  ==================  =============================================================  ==========================
``base64``     encoding/base64     which byte of a text is not Base64
``csv``        encoding/csv        the filters in one ``--filter`` flag, and the errors            columns before 1.17
``json``       encoding/json       which documents are accepted, what they put into structs,
                                   how they are written, and the errors
``net``        net                 where a host ends and its port begins
``path``       path                ``Match``, ``Clean``, ``Join``                                 bad patterns before 1.16
``regexp``     regexp              which patterns are valid, what they match, and the errors      ``(?<name>…)`` before 1.22
``strconv``    strconv             text inside errors (``%q``)
``strings``    strings             lower case
``time``       time                durations, RFC 3339, times in JSON
``unicode``    unicode             printable characters, white space, lower case                  Unicode 15 since 1.21
``url``        net/url             the parts of an address, and the errors                        colons in hosts before 1.26
``utf8``       unicode/utf8        bytes that are not UTF-8
=============  ==================  =============================================================  ==========================

A module that has the name of one of Python's is imported as ``go`` and its name::

    from imgframe.golang import time as gotime
"""
