from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Message(_message.Message):
    __slots__ = ("hello", "study_offer", "study_answer", "session_start", "advert", "key_list", "round_order", "upload_header", "seals", "vector_chunk", "agree_request", "agreement", "open_request", "shares", "receipt", "abort", "ledger_export_request", "ledger_export", "study_end", "graph_contribution", "graph_seed", "sign_request", "set_signature", "spare_noise")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    STUDY_OFFER_FIELD_NUMBER: _ClassVar[int]
    STUDY_ANSWER_FIELD_NUMBER: _ClassVar[int]
    SESSION_START_FIELD_NUMBER: _ClassVar[int]
    ADVERT_FIELD_NUMBER: _ClassVar[int]
    KEY_LIST_FIELD_NUMBER: _ClassVar[int]
    ROUND_ORDER_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_HEADER_FIELD_NUMBER: _ClassVar[int]
    SEALS_FIELD_NUMBER: _ClassVar[int]
    VECTOR_CHUNK_FIELD_NUMBER: _ClassVar[int]
    AGREE_REQUEST_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    OPEN_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    LEDGER_EXPORT_REQUEST_FIELD_NUMBER: _ClassVar[int]
    LEDGER_EXPORT_FIELD_NUMBER: _ClassVar[int]
    STUDY_END_FIELD_NUMBER: _ClassVar[int]
    GRAPH_CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    GRAPH_SEED_FIELD_NUMBER: _ClassVar[int]
    SIGN_REQUEST_FIELD_NUMBER: _ClassVar[int]
    SET_SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SPARE_NOISE_FIELD_NUMBER: _ClassVar[int]
    hello: bytes
    study_offer: bytes
    study_answer: bytes
    session_start: bytes
    advert: bytes
    key_list: bytes
    round_order: bytes
    upload_header: bytes
    seals: bytes
    vector_chunk: bytes
    agree_request: bytes
    agreement: bytes
    open_request: bytes
    shares: bytes
    receipt: bytes
    abort: bytes
    ledger_export_request: bytes
    ledger_export: bytes
    study_end: bytes
    graph_contribution: bytes
    graph_seed: bytes
    sign_request: bytes
    set_signature: bytes
    spare_noise: bytes
    def __init__(self, hello: _Optional[bytes] = ..., study_offer: _Optional[bytes] = ..., study_answer: _Optional[bytes] = ..., session_start: _Optional[bytes] = ..., advert: _Optional[bytes] = ..., key_list: _Optional[bytes] = ..., round_order: _Optional[bytes] = ..., upload_header: _Optional[bytes] = ..., seals: _Optional[bytes] = ..., vector_chunk: _Optional[bytes] = ..., agree_request: _Optional[bytes] = ..., agreement: _Optional[bytes] = ..., open_request: _Optional[bytes] = ..., shares: _Optional[bytes] = ..., receipt: _Optional[bytes] = ..., abort: _Optional[bytes] = ..., ledger_export_request: _Optional[bytes] = ..., ledger_export: _Optional[bytes] = ..., study_end: _Optional[bytes] = ..., graph_contribution: _Optional[bytes] = ..., graph_seed: _Optional[bytes] = ..., sign_request: _Optional[bytes] = ..., set_signature: _Optional[bytes] = ..., spare_noise: _Optional[bytes] = ...) -> None: ...

class Signed(_message.Message):
    __slots__ = ("body", "signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("version", "hospital", "study_hash", "session_id", "round")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    HOSPITAL_FIELD_NUMBER: _ClassVar[int]
    STUDY_HASH_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    version: int
    hospital: str
    study_hash: bytes
    session_id: bytes
    round: int
    def __init__(self, version: _Optional[int] = ..., hospital: _Optional[str] = ..., study_hash: _Optional[bytes] = ..., session_id: _Optional[bytes] = ..., round: _Optional[int] = ...) -> None: ...

class StudyOffer(_message.Message):
    __slots__ = ("agreement", "roster")
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    agreement: bytes
    roster: bytes
    def __init__(self, agreement: _Optional[bytes] = ..., roster: _Optional[bytes] = ...) -> None: ...

class StudyAnswer(_message.Message):
    __slots__ = ("study_hash", "accepted", "reason", "exit_code")
    STUDY_HASH_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EXIT_CODE_FIELD_NUMBER: _ClassVar[int]
    study_hash: bytes
    accepted: bool
    reason: str
    exit_code: int
    def __init__(self, study_hash: _Optional[bytes] = ..., accepted: _Optional[bool] = ..., reason: _Optional[str] = ..., exit_code: _Optional[int] = ...) -> None: ...

class SessionStart(_message.Message):
    __slots__ = ("study_hash", "roster_hash", "session_id")
    STUDY_HASH_FIELD_NUMBER: _ClassVar[int]
    ROSTER_HASH_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    study_hash: bytes
    roster_hash: bytes
    session_id: bytes
    def __init__(self, study_hash: _Optional[bytes] = ..., roster_hash: _Optional[bytes] = ..., session_id: _Optional[bytes] = ...) -> None: ...

class Advert(_message.Message):
    __slots__ = ("hospital", "key", "commitment")
    HOSPITAL_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    hospital: str
    key: bytes
    commitment: bytes
    def __init__(self, hospital: _Optional[str] = ..., key: _Optional[bytes] = ..., commitment: _Optional[bytes] = ...) -> None: ...

class KeyList(_message.Message):
    __slots__ = ("first_round", "adverts")
    FIRST_ROUND_FIELD_NUMBER: _ClassVar[int]
    ADVERTS_FIELD_NUMBER: _ClassVar[int]
    first_round: int
    adverts: _containers.RepeatedCompositeFieldContainer[Signed]
    def __init__(self, first_round: _Optional[int] = ..., adverts: _Optional[_Iterable[_Union[Signed, _Mapping]]] = ...) -> None: ...

class GraphContribution(_message.Message):
    __slots__ = ("contribution",)
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    contribution: bytes
    def __init__(self, contribution: _Optional[bytes] = ...) -> None: ...

class GraphSeed(_message.Message):
    __slots__ = ("contributions",)
    CONTRIBUTIONS_FIELD_NUMBER: _ClassVar[int]
    contributions: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, contributions: _Optional[_Iterable[bytes]] = ...) -> None: ...

class RoundOrder(_message.Message):
    __slots__ = ("round", "task", "model", "settings", "previous_round", "previous_receipt")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    TASK_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_ROUND_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_RECEIPT_FIELD_NUMBER: _ClassVar[int]
    round: int
    task: str
    model: bytes
    settings: bytes
    previous_round: int
    previous_receipt: bytes
    def __init__(self, round: _Optional[int] = ..., task: _Optional[str] = ..., model: _Optional[bytes] = ..., settings: _Optional[bytes] = ..., previous_round: _Optional[int] = ..., previous_receipt: _Optional[bytes] = ...) -> None: ...

class UploadHeader(_message.Message):
    __slots__ = ("hospital", "round", "order_hash", "vector_sha256", "seals_sha256", "seed_commitment", "share_commitments")
    HOSPITAL_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ORDER_HASH_FIELD_NUMBER: _ClassVar[int]
    VECTOR_SHA256_FIELD_NUMBER: _ClassVar[int]
    SEALS_SHA256_FIELD_NUMBER: _ClassVar[int]
    SEED_COMMITMENT_FIELD_NUMBER: _ClassVar[int]
    SHARE_COMMITMENTS_FIELD_NUMBER: _ClassVar[int]
    hospital: str
    round: int
    order_hash: bytes
    vector_sha256: bytes
    seals_sha256: bytes
    seed_commitment: bytes
    share_commitments: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, hospital: _Optional[str] = ..., round: _Optional[int] = ..., order_hash: _Optional[bytes] = ..., vector_sha256: _Optional[bytes] = ..., seals_sha256: _Optional[bytes] = ..., seed_commitment: _Optional[bytes] = ..., share_commitments: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Seal(_message.Message):
    __slots__ = ("receiver", "nonce", "ciphertext")
    RECEIVER_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    receiver: str
    nonce: bytes
    ciphertext: bytes
    def __init__(self, receiver: _Optional[str] = ..., nonce: _Optional[bytes] = ..., ciphertext: _Optional[bytes] = ...) -> None: ...

class Seals(_message.Message):
    __slots__ = ("round", "seals")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SEALS_FIELD_NUMBER: _ClassVar[int]
    round: int
    seals: _containers.RepeatedCompositeFieldContainer[Seal]
    def __init__(self, round: _Optional[int] = ..., seals: _Optional[_Iterable[_Union[Seal, _Mapping]]] = ...) -> None: ...

class VectorChunk(_message.Message):
    __slots__ = ("round", "offset", "data")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    round: int
    offset: int
    data: bytes
    def __init__(self, round: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class SetMember(_message.Message):
    __slots__ = ("hospital", "header_hash")
    HOSPITAL_FIELD_NUMBER: _ClassVar[int]
    HEADER_HASH_FIELD_NUMBER: _ClassVar[int]
    hospital: str
    header_hash: bytes
    def __init__(self, hospital: _Optional[str] = ..., header_hash: _Optional[bytes] = ...) -> None: ...

class AgreedSet(_message.Message):
    __slots__ = ("round", "order_hash", "members")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ORDER_HASH_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    round: int
    order_hash: bytes
    members: _containers.RepeatedCompositeFieldContainer[SetMember]
    def __init__(self, round: _Optional[int] = ..., order_hash: _Optional[bytes] = ..., members: _Optional[_Iterable[_Union[SetMember, _Mapping]]] = ...) -> None: ...

class Deposit(_message.Message):
    __slots__ = ("header", "nonce", "ciphertext")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    CIPHERTEXT_FIELD_NUMBER: _ClassVar[int]
    header: Signed
    nonce: bytes
    ciphertext: bytes
    def __init__(self, header: _Optional[_Union[Signed, _Mapping]] = ..., nonce: _Optional[bytes] = ..., ciphertext: _Optional[bytes] = ...) -> None: ...

class AgreeRequest(_message.Message):
    __slots__ = ("agreed_set", "deposits")
    AGREED_SET_FIELD_NUMBER: _ClassVar[int]
    DEPOSITS_FIELD_NUMBER: _ClassVar[int]
    agreed_set: bytes
    deposits: _containers.RepeatedCompositeFieldContainer[Deposit]
    def __init__(self, agreed_set: _Optional[bytes] = ..., deposits: _Optional[_Iterable[_Union[Deposit, _Mapping]]] = ...) -> None: ...

class MaskSeed(_message.Message):
    __slots__ = ("hospital", "seed")
    HOSPITAL_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    hospital: str
    seed: bytes
    def __init__(self, hospital: _Optional[str] = ..., seed: _Optional[bytes] = ...) -> None: ...

class Agreement(_message.Message):
    __slots__ = ("round", "set_hash", "signature", "seeds")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SET_HASH_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    round: int
    set_hash: bytes
    signature: bytes
    seeds: _containers.RepeatedCompositeFieldContainer[MaskSeed]
    def __init__(self, round: _Optional[int] = ..., set_hash: _Optional[bytes] = ..., signature: _Optional[bytes] = ..., seeds: _Optional[_Iterable[_Union[MaskSeed, _Mapping]]] = ...) -> None: ...

class SignRequest(_message.Message):
    __slots__ = ("round", "set_hash")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SET_HASH_FIELD_NUMBER: _ClassVar[int]
    round: int
    set_hash: bytes
    def __init__(self, round: _Optional[int] = ..., set_hash: _Optional[bytes] = ...) -> None: ...

class SetSignature(_message.Message):
    __slots__ = ("round", "set_hash", "signature")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SET_HASH_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    round: int
    set_hash: bytes
    signature: bytes
    def __init__(self, round: _Optional[int] = ..., set_hash: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class MemberSignature(_message.Message):
    __slots__ = ("hospital", "signature")
    HOSPITAL_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    hospital: str
    signature: bytes
    def __init__(self, hospital: _Optional[str] = ..., signature: _Optional[bytes] = ...) -> None: ...

class OpenRequest(_message.Message):
    __slots__ = ("round", "signatures")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    round: int
    signatures: _containers.RepeatedCompositeFieldContainer[MemberSignature]
    def __init__(self, round: _Optional[int] = ..., signatures: _Optional[_Iterable[_Union[MemberSignature, _Mapping]]] = ...) -> None: ...

class OpenedShare(_message.Message):
    __slots__ = ("dealer", "share", "opening")
    DEALER_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    OPENING_FIELD_NUMBER: _ClassVar[int]
    dealer: str
    share: bytes
    opening: bytes
    def __init__(self, dealer: _Optional[str] = ..., share: _Optional[bytes] = ..., opening: _Optional[bytes] = ...) -> None: ...

class Shares(_message.Message):
    __slots__ = ("round", "shares")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    round: int
    shares: _containers.RepeatedCompositeFieldContainer[OpenedShare]
    def __init__(self, round: _Optional[int] = ..., shares: _Optional[_Iterable[_Union[OpenedShare, _Mapping]]] = ...) -> None: ...

class SpareNoise(_message.Message):
    __slots__ = ("round", "offset", "data")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    round: int
    offset: int
    data: bytes
    def __init__(self, round: _Optional[int] = ..., offset: _Optional[int] = ..., data: _Optional[bytes] = ...) -> None: ...

class MissingHospital(_message.Message):
    __slots__ = ("hospital", "step")
    HOSPITAL_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    hospital: str
    step: str
    def __init__(self, hospital: _Optional[str] = ..., step: _Optional[str] = ...) -> None: ...

class ReceiptBody(_message.Message):
    __slots__ = ("round", "order_hash", "key_list_hash", "agreed_set", "signatures", "missing", "sum_sha256", "previous_round", "previous_receipt", "session_id")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ORDER_HASH_FIELD_NUMBER: _ClassVar[int]
    KEY_LIST_HASH_FIELD_NUMBER: _ClassVar[int]
    AGREED_SET_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    SUM_SHA256_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_ROUND_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_RECEIPT_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    round: int
    order_hash: bytes
    key_list_hash: bytes
    agreed_set: bytes
    signatures: _containers.RepeatedCompositeFieldContainer[MemberSignature]
    missing: _containers.RepeatedCompositeFieldContainer[MissingHospital]
    sum_sha256: bytes
    previous_round: int
    previous_receipt: bytes
    session_id: bytes
    def __init__(self, round: _Optional[int] = ..., order_hash: _Optional[bytes] = ..., key_list_hash: _Optional[bytes] = ..., agreed_set: _Optional[bytes] = ..., signatures: _Optional[_Iterable[_Union[MemberSignature, _Mapping]]] = ..., missing: _Optional[_Iterable[_Union[MissingHospital, _Mapping]]] = ..., sum_sha256: _Optional[bytes] = ..., previous_round: _Optional[int] = ..., previous_receipt: _Optional[bytes] = ..., session_id: _Optional[bytes] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("signed", "sum")
    SIGNED_FIELD_NUMBER: _ClassVar[int]
    SUM_FIELD_NUMBER: _ClassVar[int]
    signed: Signed
    sum: bytes
    def __init__(self, signed: _Optional[_Union[Signed, _Mapping]] = ..., sum: _Optional[bytes] = ...) -> None: ...

class Abort(_message.Message):
    __slots__ = ("round", "reason", "culprit")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CULPRIT_FIELD_NUMBER: _ClassVar[int]
    round: int
    reason: str
    culprit: str
    def __init__(self, round: _Optional[int] = ..., reason: _Optional[str] = ..., culprit: _Optional[str] = ...) -> None: ...

class LedgerExportRequest(_message.Message):
    __slots__ = ("study_hash",)
    STUDY_HASH_FIELD_NUMBER: _ClassVar[int]
    study_hash: bytes
    def __init__(self, study_hash: _Optional[bytes] = ...) -> None: ...

class LedgerExport(_message.Message):
    __slots__ = ("jsonl",)
    JSONL_FIELD_NUMBER: _ClassVar[int]
    jsonl: bytes
    def __init__(self, jsonl: _Optional[bytes] = ...) -> None: ...

class StudyEnd(_message.Message):
    __slots__ = ("status", "reason")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    status: str
    reason: str
    def __init__(self, status: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class StoredSeat(_message.Message):
    __slots__ = ("me", "n", "colluding", "threshold", "modulus_bits", "dim", "roster", "version", "study_hash", "session_id", "degree", "neighbor_threshold")
    ME_FIELD_NUMBER: _ClassVar[int]
    N_FIELD_NUMBER: _ClassVar[int]
    COLLUDING_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MODULUS_BITS_FIELD_NUMBER: _ClassVar[int]
    DIM_FIELD_NUMBER: _ClassVar[int]
    ROSTER_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STUDY_HASH_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    DEGREE_FIELD_NUMBER: _ClassVar[int]
    NEIGHBOR_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    me: str
    n: int
    colluding: int
    threshold: int
    modulus_bits: int
    dim: int
    roster: bytes
    version: int
    study_hash: bytes
    session_id: bytes
    degree: int
    neighbor_threshold: int
    def __init__(self, me: _Optional[str] = ..., n: _Optional[int] = ..., colluding: _Optional[int] = ..., threshold: _Optional[int] = ..., modulus_bits: _Optional[int] = ..., dim: _Optional[int] = ..., roster: _Optional[bytes] = ..., version: _Optional[int] = ..., study_hash: _Optional[bytes] = ..., session_id: _Optional[bytes] = ..., degree: _Optional[int] = ..., neighbor_threshold: _Optional[int] = ...) -> None: ...

class StoredSecret(_message.Message):
    __slots__ = ("hospital", "secret")
    HOSPITAL_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    hospital: str
    secret: bytes
    def __init__(self, hospital: _Optional[str] = ..., secret: _Optional[bytes] = ...) -> None: ...

class StoredReady(_message.Message):
    __slots__ = ("key_list_hash", "first_round", "keys", "chains", "chain_round")
    KEY_LIST_HASH_FIELD_NUMBER: _ClassVar[int]
    FIRST_ROUND_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    CHAINS_FIELD_NUMBER: _ClassVar[int]
    CHAIN_ROUND_FIELD_NUMBER: _ClassVar[int]
    key_list_hash: bytes
    first_round: int
    keys: _containers.RepeatedCompositeFieldContainer[StoredSecret]
    chains: _containers.RepeatedCompositeFieldContainer[StoredSecret]
    chain_round: int
    def __init__(self, key_list_hash: _Optional[bytes] = ..., first_round: _Optional[int] = ..., keys: _Optional[_Iterable[_Union[StoredSecret, _Mapping]]] = ..., chains: _Optional[_Iterable[_Union[StoredSecret, _Mapping]]] = ..., chain_round: _Optional[int] = ...) -> None: ...

class StoredRound(_message.Message):
    __slots__ = ("round", "order_hash", "mask_seeds", "seal_out", "seal_in", "own_header_hash", "agreed_set", "shares")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    ORDER_HASH_FIELD_NUMBER: _ClassVar[int]
    MASK_SEEDS_FIELD_NUMBER: _ClassVar[int]
    SEAL_OUT_FIELD_NUMBER: _ClassVar[int]
    SEAL_IN_FIELD_NUMBER: _ClassVar[int]
    OWN_HEADER_HASH_FIELD_NUMBER: _ClassVar[int]
    AGREED_SET_FIELD_NUMBER: _ClassVar[int]
    SHARES_FIELD_NUMBER: _ClassVar[int]
    round: int
    order_hash: bytes
    mask_seeds: _containers.RepeatedCompositeFieldContainer[StoredSecret]
    seal_out: _containers.RepeatedCompositeFieldContainer[StoredSecret]
    seal_in: _containers.RepeatedCompositeFieldContainer[StoredSecret]
    own_header_hash: bytes
    agreed_set: bytes
    shares: _containers.RepeatedCompositeFieldContainer[OpenedShare]
    def __init__(self, round: _Optional[int] = ..., order_hash: _Optional[bytes] = ..., mask_seeds: _Optional[_Iterable[_Union[StoredSecret, _Mapping]]] = ..., seal_out: _Optional[_Iterable[_Union[StoredSecret, _Mapping]]] = ..., seal_in: _Optional[_Iterable[_Union[StoredSecret, _Mapping]]] = ..., own_header_hash: _Optional[bytes] = ..., agreed_set: _Optional[bytes] = ..., shares: _Optional[_Iterable[_Union[OpenedShare, _Mapping]]] = ...) -> None: ...

class StoredState(_message.Message):
    __slots__ = ("kind", "seat", "highest_round", "receipt_round", "receipt_hash", "session_key", "ready", "round", "contribution", "graphs", "key_list")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEAT_FIELD_NUMBER: _ClassVar[int]
    HIGHEST_ROUND_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_ROUND_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_HASH_FIELD_NUMBER: _ClassVar[int]
    SESSION_KEY_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    ROUND_FIELD_NUMBER: _ClassVar[int]
    CONTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    GRAPHS_FIELD_NUMBER: _ClassVar[int]
    KEY_LIST_FIELD_NUMBER: _ClassVar[int]
    kind: str
    seat: StoredSeat
    highest_round: int
    receipt_round: int
    receipt_hash: bytes
    session_key: bytes
    ready: _containers.RepeatedCompositeFieldContainer[StoredReady]
    round: _containers.RepeatedCompositeFieldContainer[StoredRound]
    contribution: bytes
    graphs: int
    key_list: bytes
    def __init__(self, kind: _Optional[str] = ..., seat: _Optional[_Union[StoredSeat, _Mapping]] = ..., highest_round: _Optional[int] = ..., receipt_round: _Optional[int] = ..., receipt_hash: _Optional[bytes] = ..., session_key: _Optional[bytes] = ..., ready: _Optional[_Iterable[_Union[StoredReady, _Mapping]]] = ..., round: _Optional[_Iterable[_Union[StoredRound, _Mapping]]] = ..., contribution: _Optional[bytes] = ..., graphs: _Optional[int] = ..., key_list: _Optional[bytes] = ...) -> None: ...
