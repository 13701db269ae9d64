"""The keys of one site: its identity, its key epochs and its dedup domains, each a wrapped secret of 32 random bytes.

A record is a secret wrapped to the site secret (the site's key file) and, when the site has an organisation, to its
recovery key. Other secrets (fact keys of subjects) are wrapped by `Keyring.wrap` to the current key epoch and to the
recovery key. So losing or changing the key file concerns the few records here only, and the records together with the
recovery shares open all that was ever wrapped.

Records are those of `shared.keyrecord`. Purpose bound into the wraps of other secrets: "secret <purpose>".

Keys derived from a record's secret, BLAKE3 derive-key:

| record    | context                                      | key                                              |
| --------- | -------------------------------------------- | ------------------------------------------------ |
| key-epoch | "farkeep 2026 segment seal key v1"           | EpochKeys.seal_key                               |
| key-epoch | "farkeep 2026 manifest key v1"               | EpochKeys.manifest_key                           |
| key-epoch | "farkeep 2026 fact key v1"                   | EpochKeys.fact_key                               |
| key-epoch | "farkeep 2026 mark key v1"                   | EpochKeys.mark_key                               |
| key-epoch | "farkeep 2026 key epoch wrapping key v1"     | wraps other secrets                              |
| domain    | "farkeep 2026 chunk id key v1"               | DomainKeys.chunk_id_key                          |
| domain    | "farkeep 2026 page id key v1"                | DomainKeys.page_id_key                           |
| domain    | "farkeep 2026 boundary key v1"               | DomainKeys.boundary_key                          |
| identity  | the secret itself                            | Ed25519 seed                                     |

The secrets of all identity and key-epoch records, joined in the order of the records, give by the context
"farkeep 2026 keyring authentication key v1" the key of `Keyring.authenticate`: anybody can wrap a secret of his own to
the recovery key, nobody can place it beside secrets he does not know.

The key epoch with the highest number is current; the first domain is the site's own; the last identity is current.
"""

from __future__ import annotations

from collections.abc import Iterable

from shared.clock import Clock
from shared.epochkeys import EpochKeys
from shared.errors import BugError, DamagedError, RefusedError
from shared.keyrecord import (
    DOMAIN,
    IDENTITY,
    KEY_EPOCH,
    TO_RECOVERY,
    TO_SITE,
    KeyRecord,
    RecordWrapper,
    empty_record,
    numbered_epochs,
    recovered_secret,
)
from shared.organisation import Organisation, require_seed
from shared.randomness import Randomness, SystemRandomness
from shared.sealing import KEY_SIZE_BYTES, derive, keyed_id
from shared.secret import Secret
from shared.signing import Identity
from shared.wrapping import (
    ID_SIZE_BYTES,
    Wrap,
    public_key_id,
    symmetric_key_id,
    unwrap_with_key,
    wrap_to_key,
    wrap_to_public,
)

TO_KEY_EPOCH = "key-epoch"

_SYSTEM_RANDOMNESS = SystemRandomness()


class DomainKeys(Secret, frozen=True):
    """The keys of one dedup domain, 32 bytes each; they never change when key epochs rotate."""

    id: bytes
    chunk_id_key: bytes
    page_id_key: bytes
    boundary_key: bytes


class Keyring:
    """An opened keyring. Never changes: what adds or rewraps keys returns another one. Several threads may read it."""

    def __init__(
        self,
        records: Iterable[KeyRecord],
        site_secret: bytes,
        organisation: Organisation | None,
        site_id: bytes,
        randomness: Randomness = _SYSTEM_RANDOMNESS,
    ) -> None:
        _require_size(site_secret, KEY_SIZE_BYTES, "site secret")
        _require_size(site_id, ID_SIZE_BYTES, "site id")
        self.site_id = site_id
        self.organisation = organisation
        self.records = tuple(records)
        self._site_secret = site_secret
        self._site_key_id = symmetric_key_id(site_secret)
        self._randomness = randomness
        self._secrets: dict[tuple[str, bytes], bytes] = {}
        # Filled on first use; two threads may both compute an entry, and both compute the same one.
        self._epoch_keys: dict[int, EpochKeys] = {}
        self._domain_keys: dict[bytes, DomainKeys] = {}
        self._epochs = numbered_epochs(self.records, self._subject)
        self._domains = {record.id: record for record in self.records if record.kind == DOMAIN}
        identities = [record for record in self.records if record.kind == IDENTITY]
        if not (self._epochs and self._domains and identities):
            raise DamagedError("a keyring lacks an identity, a key epoch or a dedup domain", subject=self._subject,
                               next_step="take the keyring from another copy of the home or of its log")
        self._identity_record = identities[-1]
        self._identity: Identity | None = None
        self._secret(self._identity_record)

    @classmethod
    def open(
        cls,
        records: Iterable[KeyRecord],
        site_secret: bytes,
        organisation: Organisation | None,
        site_id: bytes,
        randomness: Randomness = _SYSTEM_RANDOMNESS,
    ) -> Keyring:
        """Open the keyring of `site_id` with its 32 byte secret.

        Raises RefusedError when the secret is not the one these records are wrapped to or a record was made by a newer
        Farkeep, DamagedError when a record does not open or a needed one is missing.
        """
        return cls(records, site_secret, organisation, site_id, randomness)

    @classmethod
    def create(
        cls,
        site_secret: bytes,
        organisation: Organisation | None,
        randomness: Randomness,
        clock: Clock,
    ) -> Keyring:
        """Create a new site: a random site id, an identity, key epoch 1 and one dedup domain."""
        site_id = randomness.bits(ID_SIZE_BYTES)
        now_ns = clock.now_ns()
        seed = randomness.bits(KEY_SIZE_BYTES)
        secrets = (
            (empty_record(IDENTITY, public_key_id(Identity(seed).public), 0, now_ns), seed),
            (empty_record(KEY_EPOCH, randomness.bits(ID_SIZE_BYTES), 1, now_ns), randomness.bits(KEY_SIZE_BYTES)),
            (empty_record(DOMAIN, randomness.bits(ID_SIZE_BYTES), 0, now_ns), randomness.bits(KEY_SIZE_BYTES)),
        )
        wrapper = RecordWrapper((site_secret,), organisation, site_id, randomness)
        records = [wrapper.wrapped(record, secret) for record, secret in secrets]
        return cls(records, site_secret, organisation, site_id, randomness)

    @classmethod
    def recover(
        cls,
        records: Iterable[KeyRecord],
        recovery_seed: bytes,
        new_site_secret: bytes,
        organisation: Organisation,
        site_id: bytes,
        randomness: Randomness = _SYSTEM_RANDOMNESS,
    ) -> Keyring:
        """Open a site whose key file is lost, by the organisation's 32 byte recovery seed, for a new site secret.

        `records` come from the keyring file or from a copy of the log (a later record replaces an earlier one of the
        same kind and id) whose chain the caller has checked: anybody can wrap a key of his own to a recovery key.

        Raises RefusedError when the seed is another organisation's or a record is not wrapped to it.
        """
        keys = require_seed(organisation, recovery_seed)
        latest = {(record.kind, record.id): record for record in records}
        wrapper = RecordWrapper((new_site_secret,), organisation, site_id, randomness)
        rewrapped = [
            wrapper.wrapped(record, recovered_secret(record, keys, site_id)) for record in latest.values()
        ]
        return cls(rewrapped, new_site_secret, organisation, site_id, randomness)

    @property
    def identity(self) -> Identity:
        """The site's Ed25519 identity."""
        if self._identity is None:
            self._identity = Identity(self._secret(self._identity_record))
        return self._identity

    @property
    def current(self) -> EpochKeys:
        """The keys of the current key epoch."""
        return self.epoch(max(self._epochs))

    @property
    def epochs(self) -> list[EpochKeys]:
        """The keys of every key epoch, oldest first."""
        return [self.epoch(number) for number in sorted(self._epochs)]

    @property
    def default_domain(self) -> DomainKeys:
        """The keys of the site's own dedup domain."""
        return self.domain(next(iter(self._domains)))

    def epoch(self, number: int) -> EpochKeys:
        """Return the keys of key epoch `number`; raises DamagedError when this keyring lacks it."""
        keys = self._epoch_keys.get(number)
        if keys is None:
            root = self._secret(self._epoch_record(number))
            keys = self._epoch_keys[number] = EpochKeys(
                number=number,
                seal_key=derive("farkeep 2026 segment seal key v1", root),
                manifest_key=derive("farkeep 2026 manifest key v1", root),
                fact_key=derive("farkeep 2026 fact key v1", root),
                mark_key=derive("farkeep 2026 mark key v1", root),
            )
        return keys

    def domain(self, domain_id: bytes) -> DomainKeys:
        """Return the keys of a dedup domain; raises DamagedError when this keyring lacks it."""
        keys = self._domain_keys.get(domain_id)
        if keys is None:
            record = self._domains.get(domain_id)
            if record is None:
                raise self._missing(f"dedup domain {domain_id.hex()}")
            secret = self._secret(record)
            keys = self._domain_keys[domain_id] = DomainKeys(
                id=domain_id,
                chunk_id_key=derive("farkeep 2026 chunk id key v1", secret),
                page_id_key=derive("farkeep 2026 page id key v1", secret),
                boundary_key=derive("farkeep 2026 boundary key v1", secret),
            )
        return keys

    def wrap(self, secret: bytes, purpose: str) -> tuple[Wrap, ...]:
        """Wrap `secret` to the current key epoch and, when there is an organisation, to its recovery key."""
        record = self._epoch_record(max(self._epochs))
        bound = f"secret {purpose}"
        wraps = [
            wrap_to_key(self._wrapping_key(record), secret, recipient=TO_KEY_EPOCH, recipient_id=record.id,
                        site_id=self.site_id, purpose=bound, randomness=self._randomness)
        ]
        if self.organisation is not None:
            wraps.append(wrap_to_public(self.organisation.recovery_public, secret, recipient=TO_RECOVERY,
                                        site_id=self.site_id, purpose=bound, randomness=self._randomness))
        return tuple(wraps)

    def unwrap(self, wraps: Iterable[Wrap], purpose: str) -> bytes:
        """Return the secret that `wrap` wrapped for the same purpose, under this or an earlier key epoch.

        Raises DamagedError when no wrap is for a key epoch of this keyring, or it does not open.
        """
        by_id = {record.id: record for record in self._epochs.values()}
        for wrap in wraps:
            record = by_id.get(wrap.recipient_id) if wrap.recipient == TO_KEY_EPOCH else None
            if record is not None:
                key = self._wrapping_key(record)
                return unwrap_with_key(wrap, key, site_id=self.site_id, purpose=f"secret {purpose}")
        raise self._missing(f"the key epoch that {purpose!r} is wrapped to")

    def rotated(self, randomness: Randomness, clock: Clock) -> Keyring:
        """Return this keyring with one more key epoch, its record the last one; older epochs stay readable."""
        number = max(self._epochs) + 1
        empty = empty_record(KEY_EPOCH, randomness.bits(ID_SIZE_BYTES), number, clock.now_ns())
        wrapper = RecordWrapper((self._site_secret,), self.organisation, self.site_id, randomness)
        record = wrapper.wrapped(empty, randomness.bits(KEY_SIZE_BYTES))
        return self._with((*self.records, record), self._site_secret, self.organisation)

    def rewrapped(self, site_secret: bytes, randomness: Randomness, *, keep_old: bool = False) -> Keyring:
        """Return this keyring wrapped to another site secret, for a new key file.

        With `keep_old` the present secret still opens it too, so that a crash between writing the keyring and writing
        the key file locks nobody out; rewrap again without it once the new key file is durable.
        """
        secrets = (site_secret, self._site_secret) if keep_old else (site_secret,)
        return self._rewrap(secrets, self.organisation, randomness)

    def with_organisation(self, organisation: Organisation, randomness: Randomness) -> Keyring:
        """Return this keyring wrapped to another organisation's recovery key instead of the present one."""
        return self._rewrap((self._site_secret,), organisation, randomness)

    def authenticate(self, data: bytes) -> bytes:
        """Return 32 bytes over `data` that only who knows all identities and key epochs of this keyring can make."""
        secrets = b"".join(self._secret(record) for record in self.records if record.kind != DOMAIN)
        return keyed_id(derive("farkeep 2026 keyring authentication key v1", secrets), data)

    @property
    def _subject(self) -> str:
        return f"keyring of site {self.site_id.hex()}"

    def _with(self, records: Iterable[KeyRecord], site_secret: bytes, organisation: Organisation | None) -> Keyring:
        return Keyring(records, site_secret, organisation, self.site_id, self._randomness)

    def _rewrap(
        self, site_secrets: tuple[bytes, ...], organisation: Organisation | None, randomness: Randomness
    ) -> Keyring:
        wrapper = RecordWrapper(site_secrets, organisation, self.site_id, randomness)
        records = [wrapper.wrapped(record, self._secret(record)) for record in self.records]
        return self._with(records, site_secrets[0], organisation)

    def _epoch_record(self, number: int) -> KeyRecord:
        record = self._epochs.get(number)
        if record is None:
            raise self._missing(f"key epoch {number}")
        return record

    def _wrapping_key(self, record: KeyRecord) -> bytes:
        return derive("farkeep 2026 key epoch wrapping key v1", self._secret(record))

    def _secret(self, record: KeyRecord) -> bytes:
        name = (record.kind, record.id)
        secret = self._secrets.get(name)
        if secret is None:
            secret = self._secrets[name] = self._unwrapped(record)
        return secret

    def _unwrapped(self, record: KeyRecord) -> bytes:
        for wrap in record.wraps:
            if wrap.recipient == TO_SITE and wrap.recipient_id == self._site_key_id:
                secret = unwrap_with_key(wrap, self._site_secret, site_id=self.site_id, purpose=record.purpose)
                _require_size(secret, KEY_SIZE_BYTES, record.purpose)
                return secret
        raise RefusedError("the key file does not open this keyring: it is another site's, or an older one",
                           subject=self._subject,
                           next_step="give the right key file with --key-file, or run `farkeep key restore` with the "
                                     "recovery shares")

    def _missing(self, what: str) -> DamagedError:
        return DamagedError(f"{what} is not in this keyring: it is older than what was written", subject=self._subject,
                            next_step="take the keyring from another copy of the home, or run `farkeep key restore`")


def _require_size(value: bytes, size_bytes: int, what: str) -> None:
    if len(value) != size_bytes:
        raise BugError(f"{what} has {len(value)} bytes instead of {size_bytes}", next_step="report this")
