BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0001');
CREATE TABLE message (
	id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	store CHAR(32) NOT NULL, 
	record CHAR(32) NOT NULL, 
	UNIQUE (record), 
	FOREIGN KEY(store) REFERENCES store (id), 
	UNIQUE (record), 
	FOREIGN KEY(record) REFERENCES record (id) ON DELETE CASCADE
);
INSERT INTO "message" VALUES(2,'ebf1580a696243879a6260ba477cc347','01a230f089c07000aea7517409d0d24c');
CREATE TABLE record (
	id CHAR(32) NOT NULL, 
	device VARCHAR(64) NOT NULL, 
	store CHAR(32) NOT NULL, 
	"order" BIGINT NOT NULL, 
	captured_at DATETIME NOT NULL, 
	clock_sure BOOLEAN NOT NULL, 
	boot_id TEXT NOT NULL, 
	monotonic_ns BIGINT NOT NULL, 
	frame_id BIGINT NOT NULL, 
	source TEXT NOT NULL, 
	label TEXT, 
	probabilities JSON NOT NULL, 
	indeterminate TEXT, 
	mask_fraction FLOAT NOT NULL, 
	focus FLOAT NOT NULL, 
	brightness FLOAT NOT NULL, 
	clipped FLOAT NOT NULL, 
	tint_a FLOAT NOT NULL, 
	tint_b FLOAT NOT NULL, 
	stain_hue FLOAT, 
	stain_saturation FLOAT, 
	cells INTEGER NOT NULL, 
	times_ms JSON NOT NULL, 
	model TEXT NOT NULL, 
	threshold FLOAT NOT NULL, 
	bundle VARCHAR(64) NOT NULL, 
	preprocessing VARCHAR(64) NOT NULL, 
	executed TEXT NOT NULL, 
	certified BOOLEAN NOT NULL, 
	settings JSON NOT NULL, 
	leukoscope TEXT NOT NULL, 
	slide TEXT NOT NULL, 
	operator TEXT NOT NULL, 
	note TEXT NOT NULL, 
	"trigger" VARCHAR(16) NOT NULL, 
	um_per_pixel FLOAT, 
	image_width INTEGER NOT NULL, 
	image_height INTEGER NOT NULL, 
	image_sha256 VARCHAR(64) NOT NULL, 
	image_bytes BIGINT NOT NULL, 
	image_missing BOOLEAN NOT NULL, 
	captured_at_first DATETIME, 
	own_label TEXT, 
	comment TEXT NOT NULL, 
	annotated_at DATETIME, 
	deleted_at DATETIME, 
	deleted_sure BOOLEAN NOT NULL, 
	purging BOOLEAN NOT NULL, 
	boxes JSON NOT NULL, 
	outline JSON NOT NULL, 
	PRIMARY KEY (id), 
	CONSTRAINT record_store_order UNIQUE (store, "order"), 
	FOREIGN KEY(store) REFERENCES store (id)
);
INSERT INTO "record" VALUES('01a230f089c07000aea7517409d0d24c','scope-1','ebf1580a696243879a6260ba477cc347',1,'2026-12-01 09:30:00.000000',1,'boot-1',1000000000000,7,'demo:','Cancer','{"Cancer": 0.75, "Normal": 0.25}',NULL,0.25,1.5,230.0,0.0,130.0,127.0,140.0,NULL,1,'{"grab": 1.0, "prepare": 2.0, "infer": 3.0, "judge": 4.0, "total": 10.0}','yolo11n-int8',0.5,'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb','cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc','LiteRT 2.1, int8, 2 threads',1,'{"width": 64, "exposure": 0.5, "fourcc": "MJPG"}','0.1.0','Ä12','Ada','one
two','button',0.25,64,48,'98ca9b984487f5885bc17da0cc065f46fd3c45190a6904fbe59c42059b462531',10452,0,NULL,'Blast','sure','2026-12-01 09:30:00.000000',NULL,0,0,'[[8, 8, 32, 24]]','[[[8, 8], [8, 31], [39, 31], [39, 8]]]');
CREATE TABLE store (
	id CHAR(32) NOT NULL, 
	last_order BIGINT NOT NULL, 
	last_tick BIGINT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "store" VALUES('ebf1580a696243879a6260ba477cc347',1,7356896870400000);
CREATE INDEX record_captured_at ON record (captured_at);
CREATE INDEX record_shown ON record (purging, deleted_at, id);
CREATE INDEX record_boot ON record (store, boot_id, clock_sure);
CREATE INDEX message_store ON message (store, id);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('message',2);
COMMIT;
