"""Where things lie in a site's home. Paths only: nothing here reads or decides.

site.yaml               who this site is, which federation, which coordinator; the home's format
config.yaml             optional: defaults for the commands' options
policy.yaml             optional: what this site demands of modules that leave and that enter
federation-ca.pem       the federation's root certificate, the only trust anchor
spec.dsse               the federation spec in force here, signed by the authority
keys/                   private keys, 0600, encrypted if wished, or a token's URI; never sent
certificates/           tls.pem, signing.pem; unlearning/ holds unlearning certificates
training/<class>/       checkpoints of unfinished training
outbox/<class>/         this site's own modules
incoming/<digest>/      downloads that have not been admitted yet
waiting/<digest>/       modules that broke no rule and wait for the admin's decision
admitted/<digest>/      modules that this site uses, its own included
appraisals/<digest>/    a module's first samples, and how they compare with other modules'
trust.json              sites whose modules are admitted without asking (`ff-agent trust`)
statements/             publications, revocations, heads, members, roots, specs as received
cards/                  cards of modules that are on offer, to choose among them
training-images/        which images went into which own module; never leaves the site
learning-curves/        losses of each own module while it was trained, by digest
generators/             the network behind each own module, for auditing it again
withdrawn.json          images that no module may be trained on any more
scan-index.sqlite       what is known of image files already; a cache, holds no path or patient
withdrawal.json         a withdrawal under way, until its statement is signed
shards/<digest>/        synthetic images, by module
classifier/             classifier.onnx and fit.json; calibration.json of this site
unlearning.json         an unlearning under way, until its certificate is written
backups/format-<n>/     what an upgrade from format n replaced or set aside (docs/upgrading.md)
upgrade.json            an upgrade, or the way back, that is under way
log.jsonl               the append-only record
service.json            how `ff-agent serve` is, for `ff-agent status`
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from ff_protocol.passphrase import Passphrase

DEFAULT_HOME = Path("~/.federated-factory")


@dataclass(frozen=True)
class Home:
    """The layout of one site's home, rooted at `root`.

    Attributes:
        passphrase: where that of the private keys comes from, if they are encrypted.
    """

    root: Path
    passphrase: Passphrase = field(default_factory=Passphrase, compare=False, repr=False)

    @classmethod
    def locate(cls, given: Path | None, passphrase_file: Path | None = None) -> "Home":
        """Take `--home`, else the environment variable FF_HOME, else `~/.federated-factory`."""
        chosen = given or Path(os.environ.get("FF_HOME") or DEFAULT_HOME)
        return cls(chosen.expanduser().absolute(), Passphrase(passphrase_file))

    @property
    def site_file(self) -> Path:
        """Identity of the site and address of its coordinator."""
        return self.root / "site.yaml"

    @property
    def config_file(self) -> Path:
        """Optional defaults for command options."""
        return self.root / "config.yaml"

    @property
    def policy_file(self) -> Path:
        """What this site demands of modules that leave and that enter."""
        return self.root / "policy.yaml"

    @property
    def root_certificate(self) -> Path:
        """The federation's root certificate."""
        return self.root / "federation-ca.pem"

    @property
    def spec_envelope(self) -> Path:
        """The signed federation spec."""
        return self.root / "spec.dsse"

    def key(self, name: str) -> Path:
        """Private key `tls` or `signing`."""
        return self.root / "keys" / f"{name}.key"

    def key_uri(self, name: str) -> Path:
        """Where a private key is that lies in a token: its PKCS#11 URI."""
        return self.root / "keys" / f"{name}.uri"

    def certificate(self, name: str) -> Path:
        """Certificate chain `tls` or `signing`, leaf first."""
        return self.root / "certificates" / f"{name}.pem"

    @property
    def unlearning_certificates(self) -> Path:
        """Folder of the unlearning certificates that this site has issued."""
        return self.root / "certificates" / "unlearning"

    def training(self, class_name: str) -> Path:
        """Folder of a class's training state."""
        return self.root / "training" / class_name

    @property
    def outbox(self) -> Path:
        """This site's own modules, one folder per class."""
        return self.root / "outbox"

    def incoming(self, digest: str) -> Path:
        """Where a module is downloaded to before admission."""
        return self.root / "incoming" / digest

    def admitted(self, digest: str) -> Path:
        """An admitted module."""
        return self.root / "admitted" / digest

    def waiting(self, digest: str) -> Path:
        """A module that waits for the admin's decision."""
        return self.root / "waiting" / digest

    def appraisal(self, digest: str) -> Path:
        """First samples of a module, their contact sheet, and their comparison with others."""
        return self.root / "appraisals" / digest

    @property
    def trusted_sites(self) -> Path:
        """Sites whose modules are admitted without asking."""
        return self.root / "trust.json"

    @property
    def publications(self) -> Path:
        """Signed publications as received, `<module digest>.dsse`."""
        return self.root / "statements" / "publications"

    def card(self, digest: str) -> Path:
        """Card of a module on offer, as its publisher signed for it."""
        return self.root / "cards" / f"{digest}.json"

    @property
    def position(self) -> Path:
        """How far this site has read the coordinator's list of statements."""
        return self.root / "statements" / "position.json"

    @property
    def revocations(self) -> Path:
        """Federation-wide revocations in force here, `<issuer>-<sequence>.dsse`."""
        return self.root / "statements" / "revocations"

    @property
    def local_revocations(self) -> Path:
        """Revocations that this site's admin issued for this site alone."""
        return self.root / "statements" / "local-revocations"

    @property
    def trust_statements(self) -> Path:
        """Changes of the federation's root as followed here, `<version>.dsse`."""
        return self.root / "statements" / "roots"

    @property
    def spec_revisions(self) -> Path:
        """Revisions of the federation spec as received, adopted or not, `<revision>.dsse`."""
        return self.root / "statements" / "specs"

    @property
    def capabilities(self) -> Path:
        """What this site has last told the coordinator of its program and revision."""
        return self.root / "statements" / "capabilities.dsse"

    @property
    def members(self) -> Path:
        """The newest member list of the authority."""
        return self.root / "statements" / "members.dsse"

    @property
    def heads(self) -> Path:
        """The newest heads statement of each site, this one's included, `<site>.dsse`."""
        return self.root / "statements" / "heads"

    def training_images(self, digest: str) -> Path:
        """Which images an own module was trained on."""
        return self.root / "training-images" / f"{digest}.json"

    def learning_curve(self, digest: str) -> Path:
        """Losses of an own module while it was trained."""
        return self.root / "learning-curves" / f"{digest}.json"

    def generator(self, digest: str) -> Path:
        """The network behind an own module; holds what the module holds."""
        return self.root / "generators" / f"{digest}.pt"

    @property
    def scan_index(self) -> Path:
        """Headers of image files by path, size and time of change: a cache."""
        return self.root / "scan-index.sqlite"

    @property
    def withdrawn_images(self) -> Path:
        """Images that no module may be trained on any more."""
        return self.root / "withdrawn.json"

    @property
    def pending_withdrawal(self) -> Path:
        """Note of a withdrawal whose statement is not signed yet."""
        return self.root / "withdrawal.json"

    @property
    def refusals(self) -> Path:
        """Refused objects and the reasons, `<digest>.json`."""
        return self.root / "statements" / "refused"

    @property
    def shards(self) -> Path:
        """Synthetic images by module."""
        return self.root / "shards"

    @property
    def classifier(self) -> Path:
        """The classifier that is in use."""
        return self.root / "classifier" / "classifier.onnx"

    @property
    def fit_record(self) -> Path:
        """Provenance and digest of the classifier in use."""
        return self.root / "classifier" / "fit.json"

    @property
    def local_calibration(self) -> Path:
        """What this site measured of the classifier on its own images."""
        return self.root / "classifier" / "calibration.json"

    @property
    def pending_unlearning(self) -> Path:
        """Note of an unlearning that is ordered and not certified yet."""
        return self.root / "unlearning.json"

    @property
    def upgrade_journal(self) -> Path:
        """What an upgrade that is under way does."""
        return self.root / "upgrade.json"

    @property
    def backups(self) -> Path:
        """What upgrades replaced or set aside, by format."""
        return self.root / "backups"

    def backup(self, version: int) -> Path:
        """What was replaced or set aside when this format was left."""
        return self.backups / f"format-{version}"

    @property
    def log(self) -> Path:
        """The append-only record."""
        return self.root / "log.jsonl"

    @property
    def lock(self) -> Path:
        """Held while a command changes this home."""
        return self.root / ".lock"

    @property
    def service_record(self) -> Path:
        """What `ff-agent serve` last said of itself."""
        return self.root / "service.json"

    @property
    def service_lock(self) -> Path:
        """Held as long as `ff-agent serve` runs."""
        return self.root / ".service.lock"
