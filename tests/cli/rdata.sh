#!/bin/bash
# qgalore_rdata on a data base made here byte by byte, as R would write it. Run from the repository root; BUILD names the
# build folder; prints TAP.
set -u
. tests/support/shell/tap.sh

rdata=$PWD/${BUILD:-build}/qgalore_rdata
[ -x "$rdata" ] || skip_all "qgalore_rdata was not built"
command -v perl >/dev/null || skip_all "perl, which compresses the test data, is not installed"
perl -MCompress::Zlib -e 1 2>/dev/null || skip_all "perl's Compress::Zlib is not installed"
tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1

# Two objects: "verse", a character vector with a missing element, and "number", an integer vector.
cat >make.pl <<'END'
use strict;
use Compress::Zlib;
sub head { return "X\n" . pack("N4", 3, 0x40201, 0x30500, 5) . "UTF-8" }
sub text { my $s = shift; return defined $s ? pack("N2", 0x40009, length $s) . $s : pack("N2", 9, 0xffffffff) }
sub strings { return pack("N2", 16, scalar @_) . join("", map { text($_) } @_) }
sub integers { return pack("N2", 13, scalar @_) . pack("N*", @_) }
sub record { my $s = head() . shift; return pack("N", length $s) . compress($s) }
# The first time a symbol appears it is written out, later it is a reference.
my $names = pack("N", 0x402) . pack("N", 1) . text("names");
my $again = pack("N", 0x402) . pack("N", 0x1ff);
sub list { my ($tag, $names, @items) = @_; return pack("N2", 0x213, scalar @items) . join("", @items) . $tag . strings(@$names) . pack("N", 254) }
my $verse = record(strings("Sing, Mus\xc3\xa9", "", undef, "of Achilles"));
my $number = record(integers(7));
my $variables = list($names, ["verse", "number"], integers(0, length $verse), integers(length $verse, length $number));
my $index = list($again, ["variables", "compressed"], $variables, integers($ENV{COMPRESSED} // 1));
open my $rdb, ">:raw", "d.rdb"; print $rdb $verse, $number; close $rdb;
open my $rdx, ">:raw", "d.rdx"; print $rdx Compress::Zlib::memGzip(head() . $index); close $rdx;
END
perl make.pl || exit 1

run "$rdata" --help
expect "--help explains the usage" 0 "Usage: qgalore_rdata"
run "$rdata" --version
expect "--version names the program" 0 "qgalore_rdata "
run "$rdata" d.rdb
check "the objects are listed" [ "$output" = $'verse\nnumber' ]
run "$rdata" d.rdb verse
check "a character vector is printed line by line" [ "$code$output" = $'0Sing, Mus\xc3\xa9\n\n\nof Achilles' ]
run "$rdata" d.rdb number
expect "another vector is refused" 2 "number is not a character vector"
run "$rdata" d.rdb nothing
expect "an object that is not there is named" 2 "no object nothing"
run "$rdata" none.rdb
expect "a missing file is named" 2 "none.rdx"
run "$rdata" d.rdx
expect "the name has to end in .rdb" 2 ".rdb"
run "$rdata"
expect "no file is a usage error" 2 "--help"

COMPRESSED=3 perl make.pl
run "$rdata" d.rdb verse
expect "another compression is refused" 2 "not compressed with zlib"
perl make.pl
truncate -s -1 d.rdb
run "$rdata" d.rdb number
expect "a truncated data base is refused" 2 "truncated"
printf '\xff\xff' | dd of=d.rdb bs=1 seek=20 conv=notrunc status=none
run "$rdata" d.rdb verse
expect "damaged data are refused" 2 "damaged"
truncate -s 40 d.rdx
run "$rdata" d.rdb
expect "and so is a truncated index" 2 "d.rdx"

finish
