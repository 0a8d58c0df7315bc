#!/bin/sh
# Runs a command in an emulated userland beside what libraries read of a Raspberry Pi 5's processor:
#
#   sh tests/device/board.sh COMMAND [ARGUMENT ...]
#
# Root, in a mount namespace of its own; with qemu start it as QEMU_CPU=cortex-a76. A kernel of another kind of processor
# has none of these files: then LiteRT computes without XNNPACK, and OpenVINO ends with a segmentation fault.
set -eu
count=$(grep -c ^processor /proc/cpuinfo) # as many as there are: OpenVINO counts them in two ways
last=$((count - 1))
all=$(printf %x $(((1 << count) - 1)))
mount -t tmpfs board /sys
node=/sys/devices/system/node
mkdir -p $node/node0
echo 0 >$node/online
echo 0-$last >$node/node0/cpulist
echo "$all" >$node/node0/cpumap
for file in possible present online; do
  mkdir -p /sys/devices/system/cpu
  echo 0-$last >/sys/devices/system/cpu/$file
done

# cache NUMBER LEVEL TYPE SIZE SETS WAYS MASK LIST: of the core in $cpu
cache() {
  mkdir -p "$cpu/cache/index$1"
  cd "$cpu/cache/index$1"
  echo "$2" >level
  echo "$3" >type
  echo "$4" >size
  echo "$5" >number_of_sets
  echo "$6" >ways_of_associativity
  echo 64 >coherency_line_size
  echo "$7" >shared_cpu_map
  echo "$8" >shared_cpu_list
}

here=$PWD
for number in $(seq 0 $last); do
  cpu=/sys/devices/system/cpu/cpu$number
  one=$(printf %x $((1 << number)))
  mkdir -p $cpu/regs/identification $cpu/topology $cpu/cpufreq
  echo 0x00000000414fd0b1 >$cpu/regs/identification/midr_el1 # Cortex-A76
  echo 2400000 >$cpu/cpufreq/cpuinfo_max_freq
  echo "$number" >$cpu/topology/core_id
  echo 0 >$cpu/topology/physical_package_id
  for file in core_siblings package_cpus; do
    echo "$all" >$cpu/topology/$file
    echo 0-$last >$cpu/topology/${file}_list
  done
  for file in thread_siblings core_cpus; do
    echo "$one" >$cpu/topology/$file
    echo "$number" >$cpu/topology/${file}_list
  done
  cache 0 1 Data 64K 256 4 "$one" "$number"
  cache 1 1 Instruction 64K 256 4 "$one" "$number"
  cache 2 2 Unified 512K 1024 8 "$one" "$number"
  cache 3 3 Unified 2048K 2048 16 "$all" "0-$last"
  printf 'processor\t: %s\nBogoMIPS\t: 108.00\n' "$number"
  printf 'Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n'
  printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: 0xd0b\nCPU revision\t: 1\n\n'
done >/sys/cpuinfo
cd "$here"
mount --bind /sys/cpuinfo /proc/cpuinfo
exec "$@"
