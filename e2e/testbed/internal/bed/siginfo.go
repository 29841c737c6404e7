package bed

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// childInfo is the layout of siginfo_t for SIGCHLD on 64-bit Linux (waitid(2)).
type childInfo struct {
	signo, errno, code, _ int32
	pid                   int32
}

// childOf returns the process that a siginfo of waitid tells of.
func childOf(info *unix.Siginfo) int {
	return int((*childInfo)(unsafe.Pointer(info)).pid)
}
