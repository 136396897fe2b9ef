"""Scalar arithmetic: dispatch from an opcode and a type to the function of `arithmetic`.

Arguments and results are words, as in `arithmetic`, which implements all operations. Integer
functions take the type as a number; each float type has its own functions.
"""

from __future__ import annotations

from onewafer.image import DsdOperation, Opcode, ScalarType
from onewafer.simulator.arithmetic import floating, integer, undefined
from onewafer.simulator.arithmetic.compiled import SINGLE_SIGN, float_to_single, single_to_float
from onewafer.simulator.arithmetic.floating import HALF_SHIFT, OPERATION_MASK
from onewafer.simulator.arithmetic.tables import ELEMENTS, HALF_ELEMENTS
from onewafer.simulator.fast.machine_code.compilation import shared

_F16 = int(ScalarType.F16)
_F32 = int(ScalarType.F32)
_BOOL = int(ScalarType.BOOL)
_I16, _U16 = int(ScalarType.I16), int(ScalarType.U16)
OF_HALVES = sum(1 << operation for operation in HALF_ELEMENTS[ScalarType.F16])
"""A bit for each operation whose elements depend on the 16-bit float of the program."""

_ADD, _SUB, _MUL = int(Opcode.ADD), int(Opcode.SUB), int(Opcode.MUL)
_DIV, _REM = int(Opcode.DIV), int(Opcode.REM)
_AND, _OR, _XOR = int(Opcode.AND), int(Opcode.OR), int(Opcode.XOR)
_SHL, _SHR = int(Opcode.SHL), int(Opcode.SHR)
_EQUAL, _NOT_EQUAL = int(Opcode.EQUAL), int(Opcode.NOT_EQUAL)
_LESS = int(Opcode.LESS)
_NEG = int(Opcode.NEG)

_D = DsdOperation
_MOV16 = int(_D.MOV16)
_ADD16 = int(_D.ADD16)
_SUB16 = int(_D.SUB16)
_AND16 = int(_D.AND16)
_OR16 = int(_D.OR16)
_XOR16 = int(_D.XOR16)
_FADDH = int(_D.FADDH)
_FSUBH = int(_D.FSUBH)
_FMULH = int(_D.FMULH)
_FMAXH = int(_D.FMAXH)
_FMOVH = int(_D.FMOVH)
_FNEGH = int(_D.FNEGH)
_FMACH = int(_D.FMACH)
_MOV32 = int(_D.MOV32)
_FADDS = int(_D.FADDS)
_FSUBS = int(_D.FSUBS)
_FMULS = int(_D.FMULS)
_FMAXS = int(_D.FMAXS)
_FMOVS = int(_D.FMOVS)
_FNEGS = int(_D.FNEGS)
_FMACS = int(_D.FMACS)
_FMACHS = int(_D.FMACHS)
_FADDHS = int(_D.FADDHS)
_FH2S = int(_D.FH2S)
_FS2H = int(_D.FS2H)
_SAR16 = int(_D.SAR16)
_SLL16 = int(_D.SLL16)
_SLR16 = int(_D.SLR16)
_CLZ = int(_D.CLZ)
_CTZ = int(_D.CTZ)
_POPCNT = int(_D.POPCNT)
_FABSH = int(_D.FABSH)
_FABSS = int(_D.FABSS)
_FSCALEH = int(_D.FSCALEH)
_FSCALES = int(_D.FSCALES)
_FH2XP16 = int(_D.FH2XP16)
_FS2XP16 = int(_D.FS2XP16)
_XP162FH = int(_D.XP162FH)
_XP162FS = int(_D.XP162FS)
_ADDC16 = int(_D.ADDC16)
_FNORMH = int(_D.FNORMH)
_mov16 = ELEMENTS[_D.MOV16]
_add16 = ELEMENTS[_D.ADD16]
_sub16 = ELEMENTS[_D.SUB16]
_and16 = ELEMENTS[_D.AND16]
_or16 = ELEMENTS[_D.OR16]
_xor16 = ELEMENTS[_D.XOR16]
_faddh = ELEMENTS[_D.FADDH]
_fsubh = ELEMENTS[_D.FSUBH]
_fmulh = ELEMENTS[_D.FMULH]
_fmaxh = ELEMENTS[_D.FMAXH]
_fmovh = ELEMENTS[_D.FMOVH]
_fnegh = ELEMENTS[_D.FNEGH]
_fmach = ELEMENTS[_D.FMACH]
_mov32 = ELEMENTS[_D.MOV32]
_fadds = ELEMENTS[_D.FADDS]
_fsubs = ELEMENTS[_D.FSUBS]
_fmuls = ELEMENTS[_D.FMULS]
_fmaxs = ELEMENTS[_D.FMAXS]
_fmovs = ELEMENTS[_D.FMOVS]
_fnegs = ELEMENTS[_D.FNEGS]
_fmacs = ELEMENTS[_D.FMACS]
_fmachs = ELEMENTS[_D.FMACHS]
_faddhs = ELEMENTS[_D.FADDHS]
_fh2s = ELEMENTS[_D.FH2S]
_fs2h = ELEMENTS[_D.FS2H]
_sar16 = ELEMENTS[_D.SAR16]
_sll16 = ELEMENTS[_D.SLL16]
_slr16 = ELEMENTS[_D.SLR16]
_clz = ELEMENTS[_D.CLZ]
_ctz = ELEMENTS[_D.CTZ]
_popcnt = ELEMENTS[_D.POPCNT]
_fabsh = ELEMENTS[_D.FABSH]
_fabss = ELEMENTS[_D.FABSS]
_fscaleh = ELEMENTS[_D.FSCALEH]
_fscales = ELEMENTS[_D.FSCALES]
_fh2xp16 = ELEMENTS[_D.FH2XP16]
_fs2xp16 = ELEMENTS[_D.FS2XP16]
_xp162fh = ELEMENTS[_D.XP162FH]
_xp162fs = ELEMENTS[_D.XP162FS]
_addc16 = ELEMENTS[_D.ADDC16]
_fnormh = ELEMENTS[_D.FNORMH]
_fnorms = ELEMENTS[_D.FNORMS]


@shared
def compute_binary(opcode: int, kind: int, a: int, b: int) -> int:
    """Return the result of ADD … SHR or EQUAL … LESS_EQUAL of a type."""
    if kind == _F32:
        return binary_single(opcode, a, b)
    if kind >= _F16:
        return binary_half(opcode, kind, a, b)
    return binary_integer(opcode, kind, a, b)


@shared
def binary_integer(opcode: int, kind: int, a: int, b: int) -> int:
    """Return the result of a binary instruction on integers or BOOL."""
    if opcode == _ADD:
        return integer.add(a, b, kind)
    if opcode == _SUB:
        return integer.sub(a, b, kind)
    if opcode == _MUL:
        return integer.mul(a, b, kind)
    if opcode == _DIV:
        return integer.div(a, b, kind)
    if opcode == _REM:
        return integer.rem(a, b, kind)
    if opcode == _AND:
        return integer.bitwise_and(a, b, kind)
    if opcode == _OR:
        return integer.bitwise_or(a, b, kind)
    if opcode == _XOR:
        return integer.bitwise_xor(a, b, kind)
    if opcode == _SHL:
        return integer.shift_left(a, b, kind)
    if opcode == _SHR:
        return integer.shift_right(a, b, kind)
    if opcode == _EQUAL:
        return integer.equal(a, b, kind)
    if opcode == _NOT_EQUAL:
        return integer.not_equal(a, b, kind)
    if opcode == _LESS:
        return integer.less(a, b, kind)
    return integer.less_equal(a, b, kind)


@shared
def binary_half(opcode: int, kind: int, a: int, b: int) -> int:
    """Return the result of a binary instruction on a 16-bit float."""
    if opcode == _ADD:
        return floating.add_half(a, b, kind)
    if opcode == _SUB:
        return floating.sub_half(a, b, kind)
    if opcode == _MUL:
        return floating.mul_half(a, b, kind)
    if opcode == _DIV:
        return floating.div_half(a, b, kind)
    if opcode == _EQUAL:
        return floating.equal_half(a, b, kind)
    if opcode == _NOT_EQUAL:
        return floating.not_equal_half(a, b, kind)
    if opcode == _LESS:
        return floating.less_half(a, b, kind)
    return floating.less_equal_half(a, b, kind)


@shared
def binary_single(opcode: int, a: int, b: int) -> int:
    """Return the result of a binary instruction on f32."""
    if opcode == _ADD:
        return floating.add_single(a, b)
    if opcode == _SUB:
        return floating.sub_single(a, b)
    if opcode == _MUL:
        return floating.mul_single(a, b)
    if opcode == _DIV:
        return floating.div_single(a, b)
    if opcode == _EQUAL:
        return floating.equal_single(a, b)
    if opcode == _NOT_EQUAL:
        return floating.not_equal_single(a, b)
    if opcode == _LESS:
        return floating.less_single(a, b)
    return floating.less_equal_single(a, b)


@shared
def compute_unary(opcode: int, kind: int, a: int) -> int:
    """Return the result of NEG or NOT of a type."""
    if opcode == _NEG:
        if kind == _F32:
            return floating.neg_single(a)
        if kind >= _F16:
            return floating.neg_half(a)
        return integer.negate(a, kind)
    return integer.complement(a, kind)


@shared
def convert(source: int, target: int, word: int) -> int:
    """Return a word of one type as a word of another (CONVERT); see `arithmetic.conversion`."""
    if source == target:
        return word
    if source == _F32:
        return from_single(target, word)
    if source >= _F16:
        return from_half(source, target, word)
    if target == _BOOL:
        return 1 if word else 0
    if target == _F32:
        return float_to_single(float(integer.to_number(word, source)))
    if target >= _F16:
        return floating.float_to_half(float(integer.to_number(word, source)), target)
    return integer.wrap(word, target)


@shared
def from_half(source: int, target: int, word: int) -> int:
    """Return a 16-bit float as another type."""
    if target == _F32:
        return floating.half_to_single(word, source)
    if target == _BOOL:
        return 1 if word & ~floating.HALF_SIGN else 0
    return integer.wrap(integer.truncate(floating.half_to_float(word, source)), target)


@shared
def from_single(target: int, word: int) -> int:
    """Return an f32 as another type."""
    if target == _BOOL:
        return 1 if word & ~SINGLE_SIGN else 0
    if target >= _F16:
        return floating.single_to_half(word, target)
    return integer.wrap(integer.truncate(single_to_float(word)), target)


@shared
def element_16(operation: int, a: int, b: int, scalar: int) -> int:
    """Return an element of an operation on 16-bit integers."""
    if operation == _MOV16:
        return _mov16(a, b, scalar)
    if operation == _ADD16:
        return _add16(a, b, scalar)
    if operation == _SUB16:
        return _sub16(a, b, scalar)
    if operation == _AND16:
        return _and16(a, b, scalar)
    if operation == _OR16:
        return _or16(a, b, scalar)
    return _xor16(a, b, scalar)


@shared
def element_half(operation: int, a: int, b: int, scalar: int) -> int:
    """Return an element of an operation on f16."""
    if operation == _FADDH:
        return _faddh(a, b, scalar)
    if operation == _FSUBH:
        return _fsubh(a, b, scalar)
    if operation == _FMULH:
        return _fmulh(a, b, scalar)
    if operation == _FMAXH:
        return _fmaxh(a, b, scalar)
    if operation == _FMOVH:
        return _fmovh(a, b, scalar)
    if operation == _FNEGH:
        return _fnegh(a, b, scalar)
    return _fmach(a, b, scalar)


@shared
def element_32(operation: int, a: int, b: int, scalar: int) -> int:
    """Return an element of an operation with a 32-bit operand."""
    if operation == _MOV32:
        return _mov32(a, b, scalar)
    if operation == _FADDS:
        return _fadds(a, b, scalar)
    if operation == _FSUBS:
        return _fsubs(a, b, scalar)
    if operation == _FMULS:
        return _fmuls(a, b, scalar)
    if operation == _FMAXS:
        return _fmaxs(a, b, scalar)
    if operation == _FMOVS:
        return _fmovs(a, b, scalar)
    if operation == _FNEGS:
        return _fnegs(a, b, scalar)
    if operation == _FMACS:
        return _fmacs(a, b, scalar)
    if operation == _FMACHS:
        return _fmachs(a, b, scalar)
    if operation == _FADDHS:
        return _faddhs(a, b, scalar)
    if operation == _FH2S:
        return _fh2s(a, b, scalar)
    return _fs2h(a, b, scalar)


@shared
def element_of_kind(operation: int, kind: int, a: int, b: int, scalar: int) -> int:
    """Return an element of an operation on 16-bit floats that are not f16 (M148)."""
    if operation == _FADDH:
        return floating.add_half(a, b, kind)
    if operation == _FSUBH:
        return floating.sub_half(a, b, kind)
    if operation == _FMULH:
        return floating.mul_half(a, b, kind)
    if operation == _FMAXH:
        return floating.max_half(a, b, kind)
    if operation == _FMACH:
        return floating.multiply_add_wide(a, b, scalar, kind)
    if operation == _FMACHS:
        return floating.multiply_add_mixed(a, b, scalar, kind)
    if operation == _FADDHS:
        return floating.add_mixed(a, b, kind)
    if operation == _FH2S:
        return floating.half_to_single(b, kind)
    if operation == _FS2H:
        return floating.single_to_half(b, kind)
    if operation == _FSCALEH:
        return floating.scale_half(b, scalar, kind)
    if operation == _FH2XP16:
        return integer.wrap(from_half(kind, _I16, b), _U16)
    if operation == _XP162FH:
        return convert(_I16, kind, integer.wrap(b, _I16))
    return undefined.normalize_half(b, kind)


@shared
def element_rare(operation: int, a: int, b: int, scalar: int) -> int:
    """Return an element of an operation that few programs use."""
    if operation > OPERATION_MASK:
        return element_of_kind(operation & OPERATION_MASK, operation >> HALF_SHIFT, a, b, scalar)
    if operation == _SAR16:
        return _sar16(a, b, scalar)
    if operation == _SLL16:
        return _sll16(a, b, scalar)
    if operation == _SLR16:
        return _slr16(a, b, scalar)
    if operation == _CLZ:
        return _clz(a, b, scalar)
    if operation == _CTZ:
        return _ctz(a, b, scalar)
    if operation == _POPCNT:
        return _popcnt(a, b, scalar)
    if operation == _FABSH:
        return _fabsh(a, b, scalar)
    if operation == _FABSS:
        return _fabss(a, b, scalar)
    if operation == _FSCALEH:
        return _fscaleh(a, b, scalar)
    if operation == _FSCALES:
        return _fscales(a, b, scalar)
    if operation == _FH2XP16:
        return _fh2xp16(a, b, scalar)
    if operation == _FS2XP16:
        return _fs2xp16(a, b, scalar)
    if operation == _XP162FH:
        return _xp162fh(a, b, scalar)
    if operation == _XP162FS:
        return _xp162fs(a, b, scalar)
    if operation == _ADDC16:
        return _addc16(a, b, scalar)
    if operation == _FNORMH:
        return _fnormh(a, b, scalar)
    return _fnorms(a, b, scalar)


@shared
def compute_element(operation: int, a: int, b: int, scalar: int) -> int:
    """Return one element of a DSD operation from src0, src1 and the scalar; absent ones are 0."""
    if operation > _FS2H:
        return element_rare(operation, a, b, scalar)
    if operation == _MOV32 or operation > _FMACH:
        return element_32(operation, a, b, scalar)
    if operation >= _FADDH:
        return element_half(operation, a, b, scalar)
    return element_16(operation, a, b, scalar)
